"""A run from outside: starts the processes of the load generator, lets them begin together, collects and reports."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tools.bench.accounts.outcome import Outcome
from tools.bench.accounts.processor import memory_of, processes_of, seconds_of, used
from tools.bench.accounts.timeline import Timeline
from tools.bench.homes import homes
from tools.bench.plan import CROWD, Plan, Share, shares
from tools.bench.workers import Worker, hear_all, workers
from tools.cli.failure import Failure
from tools.cli.output import notes
from tools.cli.reach import addresses
from tools.cli.target import Target

HEADWAY_S = 1.0
READY_S = 900.0
READY_EACH_S = 0.02  # more for each user
END_S = 300.0
TOKEN_S = 86_400.0
TICK_S = 0.2
LINE_EVERY_S = 20.0  # of a long step, where no bar can be drawn

Show = Callable[[str, float, float], None]  # what is under way, how much of it is done, how much there is


def run(plan: Plan, target: Target) -> dict[str, Any]:
    """The report of one run. Raises Failure."""
    try:
        from tools.bench.report.document import document
    except ModuleNotFoundError as missing:
        raise Failure(
            f"The load generator needs {missing.name}.",
            "`make setup` installs it, or: pip install 'tidings-server[bench]'.",
        ) from missing
    with progress(plan.workload) as show:
        outcome = asyncio.run(_run(plan, target, show))
    return document(plan, outcome)


@contextmanager
def progress(title: str) -> Iterator[Show]:
    """A bar on standard error, where that is a terminal; elsewhere a line a step, and of a long one now and then."""
    if not notes.is_terminal:
        yield _lines(title)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True) as bars:
        bar = bars.add_task(title, total=None)

        def draw(what: str, done: float, whole: float) -> None:
            bars.update(bar, description=f"{title}: {what}", completed=done, total=whole or None)

        yield draw


def _lines(title: str) -> Show:
    before, told_at = "", 0.0

    def note(what: str, done: float, whole: float) -> None:
        nonlocal before, told_at
        now = time.monotonic()
        if what == before and now - told_at < LINE_EVERY_S:
            return
        far = f" {done:,.0f} of {whole:,.0f}" if what == before and whole else ""
        notes.print(f"{title}: {what} …{far}")
        before, told_at = what, now

    return note


async def _run(plan: Plan, target: Target, show: Show) -> Outcome:
    name = f"bench-{secrets.token_hex(3)}"
    parts = _parts(plan, target, name)
    processes = processes_of(target.snapshot)
    outcome = Outcome(memory_before=memory_of(processes))
    async with workers(len(parts)) as generator:
        processes |= {f"bench-{number}": worker.pid for number, worker in enumerate(generator)}
        timeline = Timeline(processes, lambda: sum(worker.connections for worker in generator))
        async with timeline.kept() if plan.workload == CROWD else nullcontext():
            for part, worker in zip(parts, generator, strict=True):
                await worker.tell(json.dumps({**dataclasses.asdict(part), "name": name}))
            await _ready(plan, generator, show)
            await _measured(plan, generator, processes, outcome, show)
    outcome.timeline = timeline.points
    return outcome


def _parts(plan: Plan, target: Target, name: str) -> list[Share]:
    users = [f"{name}-{index}" for index in range(plan.users)]
    tokens = [(user, target.token(user, TOKEN_S)) for user in users]
    if plan.workload != CROWD:
        return shares(plan, addresses(target, plan.transport), tokens)
    assert target.snapshot is not None
    urls, places = homes(target.snapshot, users)
    return shares(plan, urls, tokens, places)


async def _ready(plan: Plan, generator: list[Worker], show: Show) -> None:
    """Returns when all users are connected. Raises Failure."""
    what = f"{plan.users:,} users get ready"
    show(what, 0, 0)
    hearing = asyncio.create_task(hear_all(generator), name="getting ready")
    try:
        async with asyncio.timeout(READY_S + READY_EACH_S * plan.users):
            while not (await asyncio.wait([hearing], timeout=TICK_S))[0]:
                show(what, sum(worker.connections for worker in generator), plan.users)
        await hearing
    except TimeoutError as error:
        raise Failure("The users did not get ready in time.", "Look at `tidings status`.") from error
    finally:
        hearing.cancel()


async def _measured(
    plan: Plan, generator: list[Worker], processes: dict[str, int], outcome: Outcome, show: Show
) -> None:
    """Fills the outcome. Raises Failure."""
    start = time.monotonic() + HEADWAY_S
    first, warm_at = seconds_of(processes), time.monotonic()
    for worker in generator:
        await worker.tell(repr(start))
    await _pass(start + plan.warmup_s, "warming up", show)
    before, began = seconds_of(processes), time.monotonic()
    outcome.warmup_cpu_s, outcome.warmup_s = used(first, before), began - warm_at
    outcome.memory_warm = memory_of(processes)
    await _pass(began + plan.seconds, "measuring", show)
    if not plan.seconds:
        show("measuring", 0, 0)
    timed_cpu = seconds_of(processes) if plan.seconds else None
    async with asyncio.timeout(END_S):
        await hear_all(generator)
        after = timed_cpu or seconds_of(processes)
        outcome.window_s = plan.seconds or time.monotonic() - began
        outcome.memory_after = memory_of(processes)
        show("accounting for every message", 0, 0)
        outcome.figures = await hear_all(generator)
    outcome.cpu_s = used(before, after)


async def _pass(end: float, what: str, show: Show) -> None:
    begin = time.monotonic()
    while (now := time.monotonic()) < end:
        show(what, now - begin, end - begin)
        await asyncio.sleep(min(TICK_S, end - now))
