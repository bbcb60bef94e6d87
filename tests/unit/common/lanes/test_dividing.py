"""A batch that fails is handled by halves, until the error stands at its item."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.lanes.dividing import divided
from tidings_protocol.errors import Forbidden, NotFound, Overloaded, TidingsError, TooLarge, Unavailable


class Desk:
    """Fails by a defect for what is in `bad`; notes its batches."""

    def __init__(self, *bad: int, error: Exception | None = None, size_max: int = 1000) -> None:
        self.bad = set(bad)
        self.error = error or ValueError("a defect")
        self.size_max = size_max
        self.batches: list[list[int]] = []

    async def handle(self, items: list[int]) -> Sequence[int | TidingsError]:
        self.batches.append(items)
        if sum(items) > self.size_max:
            raise TooLarge("a call of Store is larger than 16777216 bytes: send less at once")
        if self.bad.intersection(items):
            raise self.error
        return [10 * item for item in items]


def shown(outcomes: Sequence[int | TidingsError]) -> list[int | str]:
    return [outcome.code if isinstance(outcome, TidingsError) else outcome for outcome in outcomes]


async def test_what_goes_well_is_one_handling() -> None:
    desk = Desk()
    assert shown(await divided(desk.handle, [1, 2, 3], "test")) == [10, 20, 30]
    assert desk.batches == [[1, 2, 3]]


async def test_a_defect_is_the_error_of_its_item_alone() -> None:
    desk = Desk(5)
    assert shown(await divided(desk.handle, [1, 2, 3, 4, 5, 6, 7, 8], "test")) == [
        *(10, 20, 30, 40),
        "INTERNAL",
        *(60, 70, 80),
    ]
    assert desk.batches[1:] == [[1, 2, 3, 4], [5, 6, 7, 8], [5, 6], [5], [6], [7, 8]]


async def test_an_error_that_is_not_to_be_tried_again_is_its_items_own() -> None:
    desk = Desk(2, error=NotFound("there is no such thing"))
    assert shown(await divided(desk.handle, [1, 2, 3], "test")) == [10, "NOT_FOUND", 30]


@pytest.mark.parametrize("error", [Unavailable("away"), Overloaded("full")])
async def test_come_again_is_told_to_all_at_once(error: TidingsError) -> None:
    desk = Desk(2, error=error)
    assert await divided(desk.handle, [1, 2, 3], "test") == [error] * 3
    assert len(desk.batches) == 1


async def test_the_size_of_a_batch_is_told_to_nobody() -> None:
    desk = Desk(size_max=10)
    assert shown(await divided(desk.handle, [4, 4, 4, 4], "test")) == [40, 40, 40, 40]
    [huge, small] = await divided(desk.handle, [11, 4], "test")
    assert shown([huge, small]) == ["INTERNAL", 40]


async def test_too_few_outcomes_are_a_defect_too() -> None:
    async def forgetful(items: list[int]) -> Sequence[int]:
        return [item for item in items if item != 3]

    assert shown(await divided(forgetful, [1, 2, 3, 4], "test")) == [1, 2, "INTERNAL", 4]


async def test_nothing_is_nothing() -> None:
    async def failing(_: list[int]) -> Sequence[int]:
        raise Forbidden("never")

    assert await divided(failing, [], "test") == []


async def test_cancelling_it_cancels_the_handling() -> None:
    async def endless(_: list[int]) -> Sequence[int]:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    task = asyncio.ensure_future(divided(endless, [1, 2], "test"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@given(count=st.integers(1, 40), bad=st.sets(st.integers(0, 39)))
def test_whoever_can_be_handled_is_and_in_order(count: int, bad: set[int]) -> None:
    desk = Desk(*bad, error=NotFound("there is no such thing"))
    items = list(range(count))
    outcomes = asyncio.run(_divided(desk, items))
    assert shown(outcomes) == ["NOT_FOUND" if item in bad else 10 * item for item in items]
    handled = [item for batch in desk.batches if not desk.bad.intersection(batch) for item in batch]
    assert handled == sorted(handled), "each once, in their order"
    assert len(desk.batches) <= 2 * count - 1


async def _divided(desk: Desk, items: list[int]) -> Sequence[int | TidingsError]:
    return await divided(desk.handle, items, "test")
