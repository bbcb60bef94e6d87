"""Conducts the cases: a stack for each shape, for each case its own load, the fault, health, silence, the verdict.

Guarantees: whatever a case does, its stack is ended; a case that fails says how to run it again and where its logs are.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path

from tests.chaos.catalogue import Case
from tests.chaos.scene import Scene
from tests.support.cluster.backends import free_port_base
from tests.support.cluster.stack import CommandFailed, Stack, stack_of
from tests.support.device.wire import Closed, Refused
from tests.support.faults.outcome import Broken, Result, Skipped
from tests.support.histories import record
from tests.support.histories.verdict import judge, latency
from tests.support.load.crowd_load import users_of
from tests.support.load.load import Load, Stuck, load_on
from tests.support.load.population import populate
from tools.cli.failure import Failure

SAY_EVERY_S = 1.0
SHOWN_FINDINGS = 12
HEARTBEAT_S = 15.0  # the shortest

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """`rate`: messages a second. `before_s` and `after_s`: load without a fault around each.

    `lasting_s`: how long the cases that last do so; 0: as each has it.
    """

    seed: int = 1
    rate: float = 100.0
    users: int = 24
    crews: int = 1
    before_s: float = 3.0
    after_s: float = 4.0
    folder: Path = Path("build/chaos")
    port_base: int | None = None
    lasting_s: float = 0.0
    # What else the machine had to do when it began: the processes that wanted a processor, in the minute before.
    others_load: float = field(default_factory=lambda: round(os.getloadavg()[0], 1))


async def run_cases(
    cases: Sequence[Case], options: Options, say: Say, note: Callable[[Sequence[Result]], None]
) -> list[Result]:
    """One after the other; those that need the same stack share it, and a stack that is broken is replaced.

    `note` gets the results so far after each.
    """
    results: list[Result] = []
    ordered = sorted(cases, key=lambda case: case.shape.name)
    for name, group in groupby(ordered, key=lambda case: case.shape.name):
        left, before = list(group), len(results)
        while left:
            data = (options.folder / f"{name}-{len(results)}").absolute()
            async for result in _on_one_stack(left, options, data, say):
                results.append(result)
                note(results)
            left = left[len(results) - before :]
            before = len(results)
    return results


async def _on_one_stack(cases: Sequence[Case], options: Options, data: Path, say: Say) -> AsyncIterator[Result]:
    """Runs cases until one leaves the stack in doubt."""
    shutil.rmtree(data, ignore_errors=True)
    say(f"starting the cluster {cases[0].shape.name}: logs in {data}/logs")
    async with stack_of(cases[0].shape, data, options.port_base or free_port_base(5)) as stack:
        for case in cases:
            result = await run_case(case, stack, options, say)
            yield result
            if result.problem:
                break


async def run_case(case: Case, stack: Stack, options: Options, say: Say) -> Result:
    result = Result(
        case.name,
        case.does,
        options.seed,
        logs=str(stack.data / "logs"),
        rate=options.rate,
        others_load=options.others_load,
    )
    began = time.monotonic()
    say(f"{case.name}: {case.does}")
    try:
        await _conduct(case, stack, options, result, say)
    except* Skipped as reasons:
        result.skipped = str(_first(reasons))
    except* (Failure, CommandFailed, Stuck, Broken, Refused, Closed, OSError, AssertionError) as errors:
        result.problem = f"{type(_first(errors)).__name__}: {_first(errors)}"
    result.took_s = time.monotonic() - began
    _tell(result, options, say)
    return result


async def _conduct(case: Case, stack: Stack, options: Options, result: Result, say: Say) -> None:
    # Users of its own: what an earlier case left behind cannot touch it.
    run = f"{case.name}.{options.seed}.{int(time.time())}"
    owners = await stack.owners()
    names = users_of(owners, case.load_on, f"{run}.u", options.users)
    people = populate(names, options.seed)
    folder = options.folder / "histories" / case.name
    async with load_on(stack, people, seed=options.seed, folder=folder, crews=options.crews) as load:
        scene = Scene(
            stack, load, random.Random(options.seed), run, folder, lambda text: say(f"  {text}"), options.lasting_s
        )
        result.details = scene.details  # of a case that fails too
        async with asyncio.TaskGroup() as group:
            progress = group.create_task(_show_progress(load, say), name="progress")
            await load.begin(options.rate)
            await asyncio.sleep(options.before_s)
            scene.mended()
            await case.act(scene)
            if scene.healthy_s is None:
                await scene.until_healthy()
            result.healthy_s = scene.healthy_s or 0.0
            await asyncio.sleep(options.after_s)
            events = await load.end()
            progress.cancel()
        events = [*events, *scene.events]
        await asyncio.to_thread(record.write, folder / record.NAME, events)
        result.verdict = await asyncio.to_thread(judge, events)
        if case.graceful and result.verdict.receiver_pause_s >= HEARTBEAT_S:
            raise Broken(f"a message waited {result.verdict.receiver_pause_s:.1f} s: for a heartbeat")
        for name, (since, until) in scene.windows.items():
            result.details.setdefault("latency", {})[name] = asdict(latency(events, since, until))


async def _show_progress(load: Load, say: Say) -> None:
    while True:
        await asyncio.sleep(SAY_EVERY_S)
        told = load.progress
        if told:
            say(
                f"  {told['acknowledged']} acknowledged of {told['posted']}, {told['open']} open, "
                f"{told['shown']} shown, {told['online']} of {told['devices']} devices online"
            )


def _tell(result: Result, options: Options, say: Say) -> None:
    if result.skipped:
        say(f"{result.case}: skipped, {result.skipped}")
        return
    verdict = result.verdict
    if result.passed:
        say(
            f"{result.case}: passed; {verdict.acknowledged} acknowledged ({verdict.changes} changes of messages were "
            f"asked for, {verdict.refused} refused), senders waited up to "
            f"{verdict.sender_pause_s:.1f} s, receivers {verdict.receiver_pause_s:.1f} s; "
            f"healthy after {result.healthy_s:.1f} s"
        )
        return
    say(f"{result.case}: FAILED {result.problem}")
    for finding in verdict.findings[:SHOWN_FINDINGS]:
        say(f"  {finding.kind}: {finding.evidence}")
    if len(verdict.findings) > SHOWN_FINDINGS:
        say(f"  and {len(verdict.findings) - SHOWN_FINDINGS} more")
    say(f"  run it again: make chaos CASES={result.case} SEED={options.seed}")
    say(f"  logs: {result.logs}; histories: {options.folder / 'histories' / result.case}")


def _first(group: BaseExceptionGroup[Exception]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
