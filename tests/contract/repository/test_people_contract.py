"""What every repository of preferences, blocks and profiles promises."""

from __future__ import annotations

import asyncio

from services.storage.repository.contract import Repository
from services.storage.repository.people import (
    NO_DRAFT,
    NOT_HIDDEN,
    BlockKey,
    Draft,
    Hiding,
    PreferenceChange,
    PreferenceDocument,
    PreferenceKey,
    ProfileDocument,
)

ANN = PreferenceKey("ann", "g:1")
BOB = PreferenceKey("bob", "g:1")


async def test_what_is_set_is_there_and_the_rest_stays_as_it_was(repository: Repository) -> None:
    changed = await repository.preferences.change(
        [PreferenceChange(ANN, muted_until_ms=-1, pinned=True, archived=True, marked_unread=True)]
    )
    whole = PreferenceDocument("ann", "g:1", -1, True, True, True)
    assert changed == {ANN: whole}
    changed = await repository.preferences.change(
        [
            PreferenceChange(ANN, pinned=False, draft=Draft("Hello", 7), hiding=Hiding(0, 8)),
            PreferenceChange(BOB, muted_until_ms=2**53),
        ]
    )
    both = {
        ANN: PreferenceDocument("ann", "g:1", -1, False, True, True, Draft("Hello", 7), Hiding(0, 8)),
        BOB: PreferenceDocument("bob", "g:1", 2**53),
    }
    assert changed == both
    assert await repository.preferences.find([ANN, BOB, PreferenceKey("ann", "g:2")]) == both


async def test_everything_can_be_as_it_was_at_first(repository: Repository) -> None:
    await repository.preferences.change([PreferenceChange(ANN, 5, True, True, True, Draft("Hello", 7), Hiding(3))])
    cleared = await repository.preferences.change([PreferenceChange(ANN, 0, False, False, False, NO_DRAFT, NOT_HIDDEN)])
    assert cleared == {ANN: PreferenceDocument("ann", "g:1")}


async def test_of_two_changes_of_one_key_the_later_one_counts(repository: Repository) -> None:
    changed = await repository.preferences.change(
        [
            PreferenceChange(ANN, pinned=True, draft=Draft("first")),
            PreferenceChange(ANN, archived=True, draft=Draft("second")),
        ]
    )
    assert changed == {ANN: PreferenceDocument("ann", "g:1", pinned=True, archived=True, draft=Draft("second"))}


async def test_changes_at_the_same_time_are_all_done(repository: Repository) -> None:
    key = PreferenceKey("ann", "d:ann|bob")
    await asyncio.gather(
        repository.preferences.change([PreferenceChange(key, pinned=True)]),
        repository.preferences.change([PreferenceChange(key, archived=True)]),
        repository.preferences.change([PreferenceChange(key, muted_until_ms=-1)]),
        repository.preferences.change([PreferenceChange(key, draft=Draft("x"))]),
    )
    [found] = (await repository.preferences.find([key])).values()
    assert found == PreferenceDocument("ann", "d:ann|bob", -1, True, True, False, Draft("x"))


async def test_who_has_marked_a_conversation_is_found(repository: Repository) -> None:
    await repository.preferences.change(
        [
            PreferenceChange(ANN, marked_unread=True),
            PreferenceChange(BOB, marked_unread=True),
            PreferenceChange(PreferenceKey("cid", "g:1"), pinned=True),
            PreferenceChange(PreferenceKey("ann", "g:2"), marked_unread=True),
            PreferenceChange(PreferenceKey("ann", "g:3"), marked_unread=True),
        ]
    )
    await repository.preferences.change([PreferenceChange(PreferenceKey("ann", "g:3"), marked_unread=False)])
    marked = await repository.preferences.marked(["g:1", "g:3", "g:4"])
    assert marked == {"g:1": {"ann", "bob"}}


async def test_nothing_asked_is_nothing_answered(repository: Repository) -> None:
    assert await repository.preferences.change([]) == {}
    assert await repository.preferences.find([]) == {}
    assert await repository.preferences.marked([]) == {}
    await repository.blocks.put([], 1)
    await repository.blocks.remove([])
    assert await repository.blocks.find([]) == {}
    assert await repository.profiles.find([]) == {}


async def test_a_block_is_of_one_direction_and_keeps_its_time(repository: Repository) -> None:
    await repository.blocks.put([BlockKey("ann", "bob"), BlockKey("ann", "cid")], 10)
    await repository.blocks.put([BlockKey("ann", "bob"), BlockKey("ann", "dan"), BlockKey("ann", "dan")], 20)
    keys = [BlockKey("ann", name) for name in ("bob", "cid", "dan", "eve")]
    assert await repository.blocks.find([*keys, BlockKey("bob", "ann")]) == dict(zip(keys, (10, 10, 20), strict=False))
    await repository.blocks.remove([BlockKey("ann", "cid"), BlockKey("ann", "eve"), BlockKey("bob", "ann")])
    assert await repository.blocks.find(keys) == {keys[0]: 10, keys[2]: 20}


async def test_blocks_are_listed_by_pages_in_the_order_of_the_users(repository: Repository) -> None:
    others = ["a", "b", "b-1", "b.2", "c:x", "d@e"]
    await repository.blocks.put([BlockKey("ann", other) for other in others], 1)
    await repository.blocks.put([BlockKey("ann-b", "z"), BlockKey("an", "y")], 1)
    assert await repository.blocks.page("ann", "", 100) == sorted(others)
    assert await repository.blocks.page("ann", "", 2) == sorted(others)[:2]
    assert await repository.blocks.page("ann", sorted(others)[1], 2) == sorted(others)[2:4]
    assert await repository.blocks.page("ann", "d@e", 2) == []
    assert await repository.blocks.page("nobody", "", 2) == []


async def test_each_profile_that_is_put_is_the_next_version(repository: Repository) -> None:
    assert await repository.profiles.put("ann", b"one", "op-1", 0) == ProfileDocument("ann", 1, b"one", "op-1")
    assert await repository.profiles.put("ann", b"two", "op-2", 0) == ProfileDocument("ann", 2, b"two", "op-2")
    three = ProfileDocument("ann", 3, b"three", "op-3")
    assert await repository.profiles.put("ann", b"three", "op-3", 2) == three
    assert await repository.profiles.find(["ann", "bob"]) == {"ann": three}


async def test_a_profile_is_only_put_in_the_place_of_the_version_that_is_expected(repository: Repository) -> None:
    assert await repository.profiles.put("ann", b"none", "op-0", 1) is None
    assert await repository.profiles.find(["ann"]) == {}
    one = await repository.profiles.put("ann", b"one", "op-1", 0)
    assert await repository.profiles.put("ann", b"two", "op-2", 2) == one


async def test_a_profile_is_put_once_by_one_op(repository: Repository) -> None:
    one = await repository.profiles.put("ann", b"one", "op-1", 0)
    assert await repository.profiles.put("ann", b"one", "op-1", 0) == one
    two = await repository.profiles.put("ann", b"two", "op-2", 1)
    assert await repository.profiles.put("ann", b"two", "op-2", 1) == two


async def test_of_profiles_that_are_put_at_the_same_time_each_is_a_version(repository: Repository) -> None:
    done = await asyncio.gather(*(repository.profiles.put("ann", b"x", f"op-{n}", 0) for n in range(3)))
    assert sorted(each.version for each in done if each) == [1, 2, 3]
    done = await asyncio.gather(*(repository.profiles.put("ann", b"y", f"again-{n}", 3) for n in range(3)))
    assert len({each for each in done if each}) == 1
    [winner] = {each for each in done if each}
    assert winner.version == 4
