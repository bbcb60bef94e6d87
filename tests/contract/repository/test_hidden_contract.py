"""What every repository promises of what users have hidden."""

from __future__ import annotations

import asyncio

from services.storage.repository.contract import Repository
from services.storage.repository.message_contract import HIDDEN_MAX
from services.storage.repository.records import HiddenSeqs, MemberKey

CHAT, GROUP = "d:ann|bob", "g:1"
ANN, BOB = MemberKey(CHAT, "ann"), MemberKey(CHAT, "bob")


async def hidden_of(repository: Repository, key: MemberKey) -> HiddenSeqs | None:
    return (await repository.hidden.of([key])).get(key)


async def test_what_is_hidden_adds_up_and_is_its_users_own(repository: Repository) -> None:
    assert await repository.hidden.of([]) == {}
    assert await repository.hidden.hide(ANN, [5, 3, 3], 0)
    assert await repository.hidden.hide(ANN, [9], 0)
    assert await repository.hidden.hide(BOB, [], 2)
    assert await repository.hidden.of([ANN, BOB, MemberKey(GROUP, "ann")]) == {
        ANN: HiddenSeqs(0, frozenset({3, 5, 9})),
        BOB: HiddenSeqs(2, frozenset()),
    }


async def test_what_lies_before_the_position_is_hidden_with_it_and_it_never_goes_back(repository: Repository) -> None:
    await repository.hidden.hide(ANN, [3, 5, 9], 0)
    assert await repository.hidden.hide(ANN, [4, 8], 5)
    assert await hidden_of(repository, ANN) == HiddenSeqs(5, frozenset({8, 9}))
    assert await repository.hidden.hide(ANN, [2], 4)
    assert await hidden_of(repository, ANN) == HiddenSeqs(5, frozenset({8, 9}))


async def test_too_many_single_ones_are_refused_whole(repository: Repository) -> None:
    assert await repository.hidden.hide(ANN, range(1, HIDDEN_MAX + 1), 0)
    assert await repository.hidden.hide(ANN, [1, HIDDEN_MAX], 0), "they are hidden already"
    assert not await repository.hidden.hide(ANN, [HIDDEN_MAX + 1], 0)
    hidden = await hidden_of(repository, ANN)
    assert hidden == HiddenSeqs(0, frozenset(range(1, HIDDEN_MAX + 1)))
    assert await repository.hidden.hide(ANN, [HIDDEN_MAX + 1], 1), "a position makes room"
    assert await hidden_of(repository, ANN) == HiddenSeqs(1, frozenset(range(2, HIDDEN_MAX + 2)))


async def test_who_hides_at_the_same_time_hides_all(repository: Repository) -> None:
    assert all(await asyncio.gather(*(repository.hidden.hide(ANN, [seq], 0) for seq in range(1, 9))))
    assert await hidden_of(repository, ANN) == HiddenSeqs(0, frozenset(range(1, 9)))


async def test_it_is_known_who_has_hidden_a_message(repository: Repository) -> None:
    await repository.hidden.hide(ANN, [7], 3)
    await repository.hidden.hide(BOB, [3], 0)
    await repository.hidden.hide(MemberKey("d:ann|bobby", "ann"), [], 9)
    await repository.hidden.hide(MemberKey(GROUP, "cid"), [5], 0)
    asked = [(CHAT, 3), (CHAT, 7), (CHAT, 8), (GROUP, 5), (GROUP, 6)]
    assert await repository.hidden.hiders(asked) == {
        (CHAT, 3): {"ann", "bob"},
        (CHAT, 7): {"ann"},
        (GROUP, 5): {"cid"},
    }
    assert await repository.hidden.hiders([]) == {}
