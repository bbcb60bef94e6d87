"""The virtual loop: hours in no time, the same in every run, and a standstill is an error."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.loop import Deadlock, run


def test_an_hour_passes_at_once_and_exactly() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run(main) == pytest.approx(3600)


def test_timers_fire_in_the_order_of_their_times() -> None:
    async def main() -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []

        async def note(name: str, after_s: float) -> None:
            await asyncio.sleep(after_s)
            seen.append((name, round(asyncio.get_running_loop().time(), 6)))

        async with asyncio.TaskGroup() as group:
            for name, after_s in (("late", 3.0), ("early", 1.0), ("between", 2.0)):
                group.create_task(note(name, after_s))
        return seen

    assert run(main) == [("early", 1.0), ("between", 2.0), ("late", 3.0)]


def test_timeouts_work_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(main) == pytest.approx(5)


def test_a_program_that_can_never_go_on_is_told_with_its_tasks() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait(), name="waits for ever")

    with pytest.raises(Deadlock, match="waits for ever"):
        run(main)


def test_what_goes_to_a_thread_runs_in_place() -> None:
    async def main() -> int:
        return await asyncio.to_thread(sum, [1, 2])

    assert run(main) == 3


def test_sets_of_tasks_have_the_same_order_whatever_ran_before() -> None:
    async def hashes() -> list[int]:
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(20)]
        await asyncio.wait(tasks)
        return [hash(task) for task in tasks]

    assert run(hashes) == run(hashes)
