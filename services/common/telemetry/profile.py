"""A CPU profile of the running event loop: which functions it spends its time in, without stopping it.

A timer that counts CPU time interrupts the process every few milliseconds of work; the handler, which runs between two
steps of the main thread, notes the stack that it interrupted, weighed by the CPU time of that thread since the last
look. Waiting weighs nothing, and so does other threads' work. What C extensions do shows at the line that called them.
(A sampling thread would be simpler and wrong: it gets the interpreter's lock just when the loop goes to sleep.)

Guarantees: ends after the time asked and leaves the signal as it was; costs about one percent while it runs.
Does not know: what runs there.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from html import escape
from types import FrameType

INTERVAL_S = 0.005
SECONDS_MAX = 120.0
LINES_MAX = 40
ROW, WIDTH, CHARACTER = 17, 1400, 6.6

Stacks = Mapping[tuple[str, ...], float]  # stack from the outermost call to the innermost → CPU seconds


async def sample(seconds: float) -> Stacks:
    """Watches the main thread for so long; ValueError outside of it, and where there is no such timer."""
    stacks: dict[tuple[str, ...], float] = defaultdict(float)
    before = time.thread_time()

    def look(_: int, frame: FrameType | None) -> None:
        nonlocal before
        now = time.thread_time()
        stacks[_stack(frame)] += now - before
        before = now

    previous = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
    try:
        await asyncio.sleep(seconds)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        # A last tick may be on its way, and the default action would end the process.
        signal.signal(signal.SIGPROF, signal.SIG_IGN if previous is signal.SIG_DFL else previous)
    return dict(stacks)


def _stack(frame: FrameType | None) -> tuple[str, ...]:
    names: list[str] = []
    while frame is not None:
        code = frame.f_code
        module = frame.f_globals.get("__name__", "?")
        names.append(f"{module}.{code.co_qualname}")
        frame = frame.f_back
    return tuple(reversed(names))


def folded(stacks: Stacks, _seconds: float) -> str:
    """One line a stack, `outer;inner microseconds`: what flame graph tools read."""
    return "".join(f"{';'.join(stack)} {round(cost * 1e6)}\n" for stack, cost in sorted(stacks.items()))


def text(stacks: Stacks, seconds: float) -> str:
    """The busiest functions by their own time and by all below them."""
    total = sum(stacks.values())
    own: dict[str, float] = defaultdict(float)
    below: dict[str, float] = defaultdict(float)
    for stack, cost in stacks.items():
        own[stack[-1]] += cost
        for name in set(stack):
            below[name] += cost
    share = 100 / total if total else 0.0
    head = f"{total:.2f} s of CPU in {seconds:g} s of the event loop's thread\n"
    return head + "".join(
        f"\n{title}\n" + "".join(f"{cost * share:6.1f} %  {name}\n" for name, cost in _ranked(costs))
        for title, costs in (("own time", own), ("with all that it calls", below))
    )


def _ranked(costs: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(costs.items(), key=lambda item: -item[1])[:LINES_MAX]


def svg(stacks: Stacks, seconds: float) -> str:
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


def _boxes(stacks: Stacks, depth: int, start: float) -> Iterator[tuple[str, int, float, float]]:
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


FORMATS: dict[str, tuple[str, Callable[[Stacks, float], str]]] = {
    "text": ("text/plain; charset=utf-8", text),
    "folded": ("text/plain; charset=utf-8", folded),
    "svg": ("image/svg+xml", svg),
}
