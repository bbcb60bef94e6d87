"""A thing whose life is one function: entered at its `yield`, left after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.common.scope import Owned, TaskScope


class Thing(Owned):
    def __init__(self, *, fails: bool = False) -> None:
        self.said: list[str] = []
        self.fails = fails

    async def _running(self) -> AsyncIterator[None]:
        self.said.append("enters")
        try:
            if self.fails:
                raise ValueError("it cannot be entered")
            yield
            self.said.append("leaves in peace")
        finally:
            self.said.append("is left")


async def test_it_is_entered_and_left_as_its_function_says_and_may_be_entered_again() -> None:
    thing = Thing()
    async with thing as entered:
        assert entered is thing
        assert thing.said == ["enters"]
    assert thing.said == ["enters", "leaves in peace", "is left"]
    async with thing:
        pass
    assert len(thing.said) == 6


async def test_an_error_of_the_body_stays_what_it_is_and_what_is_for_peace_is_passed_over() -> None:
    thing = Thing()
    with pytest.raises(KeyError):
        async with thing:
            raise KeyError
    assert thing.said == ["enters", "is left"]


async def test_what_fails_while_it_is_entered_undoes_what_was_done() -> None:
    thing = Thing(fails=True)
    with pytest.raises(ValueError, match="cannot be entered"):
        async with thing:
            raise AssertionError
    assert thing.said == ["enters", "is left"]


async def test_one_that_is_cancelled_is_left_and_stays_cancelled() -> None:
    thing = Thing()

    async def live() -> None:
        async with thing:
            await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(live())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert thing.said == ["enters", "is left"]


async def test_a_task_of_its_scope_that_crashes_ends_the_body_with_that_crash() -> None:
    class Crashing(Owned):
        async def _running(self) -> AsyncIterator[None]:
            async with TaskScope() as scope:
                scope.spawn(self._crash(), name="crash")
                yield

        async def _crash(self) -> None:
            raise RuntimeError("a defect")

    with pytest.raises(ExceptionGroup) as crash:
        async with Crashing():
            await asyncio.get_running_loop().create_future()
    assert crash.group_contains(RuntimeError, match="a defect")
