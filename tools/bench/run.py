"""A run from outside: starts the processes of the load generator, lets them begin together, collects and reports."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import tidings_server
from tools.bench.accounts.outcome import Outcome
from tools.bench.accounts.processor import memory_of, processes_of, seconds_of, used
from tools.bench.plan import Plan, Share, shares
from tools.cli.failure import Failure
from tools.cli.output import notes
from tools.cli.reach import addresses
from tools.cli.target import Target

HEADWAY_S = 1.0
READY_S = 900.0
END_S = 300.0
LINE_BYTES_MAX = 256 * 1024 * 1024
TOKEN_S = 86_400.0
TICK_S = 0.2

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
def progress(title: str) -> Any:
    """A bar on standard error, where that is a terminal; a line a step elsewhere."""
    if not notes.is_terminal:
        seen: set[str] = set()

        def note(what: str, done: float, whole: float) -> None:
            del done, whole
            if what not in seen:
                seen.add(what)
                notes.print(f"{title}: {what} …")

        yield note
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=notes, transient=True) as bars:
        bar = bars.add_task(title, total=None)

        def draw(what: str, done: float, whole: float) -> None:
            bars.update(bar, description=f"{title}: {what}", completed=done, total=whole or None)

        yield draw


async def _run(plan: Plan, target: Target, show: Show) -> Outcome:
    name = f"bench-{secrets.token_hex(3)}"
    tokens = [(user, target.token(user, TOKEN_S)) for user in (f"{name}-{index}" for index in range(plan.users))]
    parts = shares(plan, addresses(target, plan.transport), tokens)
    processes = processes_of(target.snapshot)
    outcome = Outcome(memory_before=memory_of(processes))
    async with _workers(len(parts)) as workers:
        processes |= {f"bench-{number}": worker.pid for number, worker in enumerate(workers)}
        for part, worker in zip(parts, workers, strict=True):
            await _tell(worker, json.dumps({**_as_json(part), "name": name}))
        show(f"{plan.users:,} users get ready", 0, 0)
        async with asyncio.timeout(READY_S):
            for worker in workers:
                await _hear(worker)
        start = time.monotonic() + HEADWAY_S
        for worker in workers:
            await _tell(worker, repr(start))
        await _pass(start + plan.warmup_s, "warming up", show)
        before, began = seconds_of(processes), time.monotonic()
        await _pass(began + plan.seconds, "measuring", show)
        if not plan.seconds:
            show("measuring", 0, 0)
        timed_cpu = seconds_of(processes) if plan.seconds else None
        async with asyncio.timeout(END_S):
            for worker in workers:
                await _hear(worker)
            after = timed_cpu or seconds_of(processes)
            outcome.window_s = plan.seconds or time.monotonic() - began
            outcome.memory_after = memory_of(processes)
            show("accounting for every message", 0, 0)
            outcome.figures = [await _hear(worker) for worker in workers]
    outcome.cpu_s = used(before, after)
    return outcome


async def _pass(end: float, what: str, show: Show) -> None:
    begin = time.monotonic()
    while (now := time.monotonic()) < end:
        show(what, now - begin, end - begin)
        await asyncio.sleep(min(TICK_S, end - now))


@asynccontextmanager
async def _workers(count: int) -> AsyncIterator[list[Process]]:
    """They end with this."""
    workers = [
        await asyncio.create_subprocess_exec(
            *tidings_server.program("tools.bench.worker"), stdin=PIPE, stdout=PIPE, limit=LINE_BYTES_MAX
        )
        for _ in range(count)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
            await worker.wait()


async def _tell(worker: Process, line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line.encode() + b"\n")
    await worker.stdin.drain()


async def _hear(worker: Process) -> dict[str, Any]:
    assert worker.stdout is not None
    line = await worker.stdout.readline()
    if not line:
        raise Failure("A process of the load generator ended early.", "Its reason is above.")
    told: dict[str, Any] = json.loads(line)
    if "failure" in told:
        raise Failure(told["failure"])
    return told


def _as_json(share: Share) -> dict[str, Any]:
    return {
        "plan": dataclasses.asdict(share.plan),
        "urls": share.urls,
        "tokens": share.tokens,
        "rate": share.rate,
        "source": share.source,
    }
