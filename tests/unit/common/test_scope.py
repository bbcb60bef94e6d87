"""The owner of background tasks."""

from __future__ import annotations

import asyncio

import pytest

from services.common.scope import TaskScope


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
