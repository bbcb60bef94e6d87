"""A batch that is spread over owners: aligned outcomes, whole parts, errors in their places."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.rpc.spread import in_calls, spread
from tidings_protocol.errors import NotFound, TidingsError, Unavailable
from tidings_protocol.ids import slot_of

KEYS = ["ann", "bob", "cid", "dan", "eve", "fay"]


@given(
    keys=st.lists(st.sampled_from(KEYS), max_size=40),
    owners=st.lists(st.sampled_from(["a", "b", None]), min_size=len(KEYS), max_size=len(KEYS)),
)
def test_outcomes_are_aligned_and_each_owner_is_asked_once_for_all_of_its_items_in_order(
    keys: list[str], owners: list[str | None]
) -> None:
    owner_by_slot = {slot_of(key): owner for key, owner in zip(KEYS, owners, strict=True)}
    items = list(enumerate(keys))
    parts: dict[str | None, list[tuple[int, str]]] = {}

    async def ask(owner: str | None, slot: int, part: list[tuple[int, str]]) -> Sequence[str]:
        assert owner not in parts, "an owner is asked once"
        assert owner_by_slot[slot] == owner, "the slot is one of the owner's"
        parts[owner] = part
        for _ in range(len(part) % 3):
            await asyncio.sleep(0)  # the owners answer in any order
        return [f"{place} of {owner}" for place, _ in part]

    outcomes = asyncio.run(_spread(items, keys, owner_by_slot, ask))
    assert list(outcomes) == [f"{place} of {owner_by_slot[slot_of(key)]}" for place, key in items]
    for owner, part in parts.items():
        assert part == [(place, key) for place, key in items if owner_by_slot[slot_of(key)] == owner]


async def _spread(
    items: list[tuple[int, str]],
    keys: list[str],
    owner_by_slot: dict[int, str | None],
    ask: Callable[[str | None, int, list[tuple[int, str]]], Awaitable[Sequence[str]]],
) -> Sequence[str]:
    return await spread(items, keys, owner_by_slot.__getitem__, ask)


def _owner_of(slot: int) -> str:
    return "a" if slot == slot_of("ann") else "b"


async def test_owners_are_asked_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    async def ask(_owner: str, _slot: int, part: list[str]) -> list[str]:
        await both.wait()
        return part

    async with asyncio.timeout(5):
        assert list(await spread(["ann", "bob"], ["ann", "bob"], _owner_of, ask)) == ["ann", "bob"]


async def test_an_error_of_one_owner_is_raised_as_it_is_and_cancels_the_others() -> None:
    ended: list[str] = []

    async def ask(owner: str, _slot: int, _part: list[str]) -> list[str]:
        if owner == "a":
            raise Unavailable("away")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(owner)
        raise AssertionError

    with pytest.raises(Unavailable, match="away"):
        await spread(["ann", "bob"], ["ann", "bob"], _owner_of, ask)
    assert ended in ([], ["b"])


@pytest.mark.parametrize("keys", [["ann"], ["ann", "bob"]])
async def test_another_number_of_outcomes_is_a_defect(keys: list[str]) -> None:
    async def ask(_owner: str, _slot: int, part: list[str]) -> list[str]:
        return [*part, "one more"]

    with pytest.raises((ValueError, ExceptionGroup)):
        await spread(keys, keys, _owner_of, ask)


async def test_calls_are_made_one_after_the_other_and_halved_at_the_item_that_fails() -> None:
    calls: list[list[int]] = []

    async def call(run: list[int]) -> list[int]:
        calls.append(run)
        if 4 in run:
            raise NotFound("there is no such thing")
        return [10 * item for item in run]

    outcomes = await in_calls(call, [[1, 2], [3, 4], [5]], "test")
    assert [outcome.code if isinstance(outcome, TidingsError) else outcome for outcome in outcomes] == [
        *(10, 20, 30),
        "NOT_FOUND",
        50,
    ]
    assert calls == [[1, 2], [3, 4], [3], [4], [5]]
