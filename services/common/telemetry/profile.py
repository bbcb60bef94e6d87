"""A CPU profile of the running event loop: which functions it spends its time in, without stopping it.

A thread looks at the event loop's stack about 200 times a second and weighs each look by the CPU time that the loop's
thread took since the last one: waiting weighs nothing. It costs about one percent while it runs. What C extensions do
shows at the Python line that called them.

Guarantees: ends after the time asked; never touches the loop it looks at.
Does not know: what runs there.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from html import escape
from types import FrameType

INTERVAL_S = 0.005
SECONDS_MAX = 120.0
LINES_MAX = 40
ROW, WIDTH, CHARACTER = 17, 1400, 6.6

Stacks = Counter[tuple[str, ...]]  # stack from the outermost call to the innermost → CPU seconds


async def sample(seconds: float) -> Stacks:
    """Watches the thread of the calling event loop for so long."""
    return await asyncio.to_thread(_watch, threading.get_ident(), seconds)


def _watch(thread: int, seconds: float) -> Stacks:
    clock = time.pthread_getcpuclockid(thread)
    stacks: Stacks = Counter()
    end = time.monotonic() + seconds
    before = time.clock_gettime(clock)
    while time.monotonic() < end:
        time.sleep(INTERVAL_S)
        frame = sys._current_frames().get(thread)  # noqa: SLF001 - the documented way to see another thread's stack
        now = time.clock_gettime(clock)
        if frame is not None and now > before:
            stacks[_stack(frame)] += now - before  # type: ignore[assignment]  # seconds, not a count
        before = now
    return stacks


def _stack(frame: FrameType | None) -> tuple[str, ...]:
    names: list[str] = []
    while frame is not None:
        code = frame.f_code
        module = frame.f_globals.get("__name__", "?")
        names.append(f"{module}.{code.co_qualname}")
        frame = frame.f_back
    return tuple(reversed(names))


def folded(stacks: Mapping[tuple[str, ...], float], _seconds: float) -> str:
    """One line a stack, `outer;inner microseconds`: what flame graph tools read."""
    return "".join(f"{';'.join(stack)} {round(cost * 1e6)}\n" for stack, cost in sorted(stacks.items()))


def text(stacks: Mapping[tuple[str, ...], float], seconds: float) -> str:
    """The busiest functions by their own time and by all below them."""
    total = sum(stacks.values())
    own: Counter[str] = Counter()
    below: Counter[str] = Counter()
    for stack, cost in stacks.items():
        own[stack[-1]] += cost  # type: ignore[assignment]
        for name in set(stack):
            below[name] += cost  # type: ignore[assignment]
    share = 100 / total if total else 0.0
    head = f"{total:.2f} s of CPU in {seconds:g} s of the event loop's thread\n"
    return head + "".join(
        f"\n{title}\n" + "".join(f"{cost * share:6.1f} %  {name}\n" for name, cost in ranking.most_common(LINES_MAX))
        for title, ranking in (("own time", own), ("with all that it calls", below))
    )


def svg(stacks: Mapping[tuple[str, ...], float], seconds: float) -> str:
    """A flame graph: each box is a call, its width the share of CPU time; point at one to see its name and figures."""
    total = sum(stacks.values())
    deepest = max(map(len, stacks), default=0)
    height = (deepest + 2) * ROW
    boxes = "".join(_box(*box, total=total, height=height) for box in _boxes(stacks, 0, 0.0)) if total else ""
    title = f"{total:.2f} s of CPU in {seconds:g} s of the event loop's thread"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" '
        f'font-size="11">'
        f'<text x="4" y="13">{title}</text>{boxes}</svg>\n'
    )


def _boxes(
    stacks: Mapping[tuple[str, ...], float], depth: int, start: float
) -> Iterator[tuple[str, int, float, float]]:
    """(name, depth, start, cost) of every call, neighbours of one caller side by side."""
    groups: dict[str, dict[tuple[str, ...], float]] = {}
    for stack, cost in sorted(stacks.items()):
        if len(stack) > depth:
            groups.setdefault(stack[depth], {})[stack] = cost
    for name, group in groups.items():
        cost = sum(group.values())
        yield name, depth, start, cost
        yield from _boxes(group, depth + 1, start)
        start += cost


def _box(name: str, depth: int, start: float, cost: float, *, total: float, height: int) -> str:
    x, width, y = start / total * WIDTH, cost / total * WIDTH, height - (depth + 1) * ROW
    if width < 1:
        return ""
    hue = 20 + sum(name.encode()) % 40
    fits = int(width / CHARACTER)
    label = f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(name[-fits:])}</text>' if fits > 2 else ""
    return (
        f"<g><title>{escape(name)} {cost / total:.1%} {cost:.3f} s</title>"
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" rx="1" '
        f'fill="hsl({hue},80%,70%)"/>{label}</g>'
    )


FORMATS: dict[str, tuple[str, Callable[[Mapping[tuple[str, ...], float], float], str]]] = {
    "text": ("text/plain; charset=utf-8", text),
    "folded": ("text/plain; charset=utf-8", folded),
    "svg": ("image/svg+xml", svg),
}
