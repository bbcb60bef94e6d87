"""Conducts the cases on one cluster: for each its own load, the act, health, silence, the verdict.

Guarantees: whatever a case does, the next one begins on a healthy cluster or not at all; results are written down after
each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.k8s.cases import Case
from tests.k8s.place.kube import KubeFailed
from tests.k8s.place.machines import Machines
from tests.k8s.place.site import Site
from tests.k8s.scene import Scene, hanging_up
from tests.support.faults.outcome import Broken, Result, Skipped
from tests.support.histories.verdict import judge
from tests.support.load.load import Load, Stuck, load_on
from tests.support.load.population import populate

SAY_EVERY_S = 5.0
SHOWN_FINDINGS = 12
REST_S = 240.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """`rate`: messages a second. `before_s`, `after_s`: load without a fault around each case."""

    seed: int = 1
    rate: float = 60.0
    users: int = 24
    before_s: float = 5.0
    after_s: float = 5.0
    folder: Path = Path("build/k8s")


async def run_cases(
    cases: Sequence[Case],
    site: Site,
    machines: Machines | None,
    options: Options,
    say: Say,
    note: Callable[[Sequence[Result]], None],
) -> list[Result]:
    """One after the other; `note` gets the results so far after each."""
    results: list[Result] = []
    for case in cases:
        results.append(await _run_case(case, site, machines, options, say))
        note(results)
        await site.until_healthy()
    return results


async def _run_case(case: Case, site: Site, machines: Machines | None, options: Options, say: Say) -> Result:
    result = Result(case.name, case.does, options.seed)
    began = time.monotonic()
    say(f"{case.name}: {case.does}")
    try:
        await _conduct(case, site, machines, options, result, say)
    except* Skipped as reasons:
        result.skipped = str(_first(reasons))
    except* (KubeFailed, Stuck, Broken, OSError, AssertionError, TimeoutError) as errors:
        result.problem = f"{type(_first(errors)).__name__}: {_first(errors)}"
    result.took_s = time.monotonic() - began
    _tell(result, say)
    return result


async def _conduct(
    case: Case, site: Site, machines: Machines | None, options: Options, result: Result, say: Say
) -> None:
    run = f"{case.name}.{int(time.time())}"
    people = populate([f"{run}.u{number}" for number in range(options.users)], options.seed)
    folder = (options.folder / "histories" / case.name).absolute()
    load_of_case = load_on(site, people, seed=options.seed, folder=folder)
    async with load_of_case as load, hanging_up(load.crews):
        scene = Scene(site, load, run, folder, lambda text: say(f"  {text}"), machines)
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
            events = await load.end(REST_S)
            progress.cancel()
        result.verdict = await asyncio.to_thread(judge, [*events, *scene.events])


async def _show_progress(load: Load, say: Say) -> None:
    while True:
        await asyncio.sleep(SAY_EVERY_S)
        if told := load.progress:
            say(
                f"  {told['acknowledged']} acknowledged of {told['posted']}, {told['open']} open, "
                f"{told['shown']} shown, {told['online']} of {told['devices']} devices online"
            )


def _tell(result: Result, say: Say) -> None:
    verdict = result.verdict
    if result.skipped:
        say(f"{result.case}: skipped, {result.skipped}")
    elif result.passed:
        say(
            f"{result.case}: passed; {verdict.acknowledged} acknowledged, senders waited up to "
            f"{verdict.sender_pause_s:.1f} s, receivers {verdict.receiver_pause_s:.1f} s; healthy after "
            f"{result.healthy_s:.1f} s; {result.details}"
        )
    else:
        say(f"{result.case}: FAILED {result.problem}")
        for finding in verdict.findings[:SHOWN_FINDINGS]:
            say(f"  {finding.kind}: {finding.evidence}")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
