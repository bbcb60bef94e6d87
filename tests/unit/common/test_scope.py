"""The owner of background tasks."""

from __future__ import annotations

import asyncio

import pytest

from services.common.scope import TaskScope, run_all, run_each
from tidings_protocol.errors import NotFound, Unavailable


async def forever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("ended")


async def test_leaving_ends_the_tasks() -> None:
    ended: list[str] = []
    async with TaskScope() as scope:
        scope.spawn(forever(ended), name="one")
        await asyncio.sleep(0)
        assert scope.running == 1
    assert ended == ["ended"]
    assert scope.running == 0


async def test_a_draining_scope_waits_for_its_tasks() -> None:
    done = asyncio.Event()
    async with TaskScope(drain=True) as scope:
        scope.spawn(done.wait(), name="one")
        asyncio.get_running_loop().call_soon(done.set)
    assert done.is_set()


async def test_an_exception_of_the_body_stays_what_it_is_and_ends_the_tasks() -> None:
    ended: list[str] = []

    async def serve() -> None:
        async with TaskScope(drain=True) as scope:
            scope.spawn(forever(ended), name="one")
            await asyncio.sleep(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await serve()
    assert ended == ["ended"]


async def test_a_task_that_crashes_ends_its_owner_with_the_crash() -> None:
    async def crash() -> None:
        raise ZeroDivisionError

    async def serve() -> None:
        async with TaskScope() as scope:
            scope.spawn(crash(), name="one")
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await serve()
    assert raised.group_contains(ZeroDivisionError)


async def test_cancellation_of_the_owner_goes_on_and_ends_the_tasks() -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def serve() -> None:
        async with TaskScope() as scope:
            scope.spawn(forever(ended), name="one")
            await asyncio.sleep(0)
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["ended"]


async def fails_when_it_is_cancelled() -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        raise Unavailable("away") from None


async def fails() -> None:
    raise Unavailable("away")


async def test_a_cancellation_is_not_lost_when_one_of_the_works_fails_at_the_same_moment() -> None:
    task = asyncio.create_task(run_all(fails_when_it_is_cancelled(), asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_works_that_failed_leave_whoever_ran_them_uncancelled() -> None:
    ended: list[str] = []
    with pytest.raises(Unavailable):
        await run_all(fails(), forever(ended))
    task = asyncio.current_task()
    assert task is not None
    assert (ended, task.cancelling()) == (["ended"], 0)


async def test_a_failure_that_is_no_refusal_is_raised_in_a_group_with_the_others() -> None:
    async def breaks() -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as told:
        await run_all(breaks(), fails())
    assert {type(each) for each in told.value.exceptions} == {ZeroDivisionError, Unavailable}
    await run_all()


async def test_what_works_return_stands_in_their_order() -> None:
    async def late(value: int) -> int:
        await asyncio.sleep(0.001 * (3 - value))
        return value

    assert await run_all(late(1), late(2), late(3)) == [1, 2, 3]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
async def test_so_many_run_at_the_same_time_at_most_and_all_give_what_they_give(count: int) -> None:
    running = most = 0

    async def double(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return 2 * number

    assert await run_each(double, range(count), at_once=3) == [2 * number for number in range(count)]
    assert (running, most) == (0, min(count, 3))


async def test_one_that_fails_ends_the_others_that_run() -> None:
    begun: list[int] = []

    async def fail_at_once(number: int) -> None:
        begun.append(number)
        if number:
            raise NotFound("it is not there: look elsewhere")
        await asyncio.sleep(60)

    with pytest.raises(NotFound):
        await run_each(fail_at_once, range(5), at_once=2)
    assert begun == [0, 1]
