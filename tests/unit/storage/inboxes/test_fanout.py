"""Inbox entries at the owners of their users: the size of a call, and what is done here when an owner is left alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.rpc.contract import MESSAGE_BYTES_MAX
from services.storage.inboxes.fanout import APPEND_MAX
from services.storage.inboxes.numbering import Append
from services.storage.inboxes.writer import Number
from services.storage.owners.peers import NoPeers, NotAttempted
from services.storage.repository.memory import Faults
from tests.unit.storage.nodes import World, inbox_of, send, stored
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import slot_of

USERS = [f"{number:064}" for number in range(APPEND_MAX)]
# As long as ids may be, and numbers that take all their bytes.
LONG_CHAT = f"d:{'a' * 64}|{'u' * 64}"
CHAT = "d:ann|bob"


class Owner(NoPeers):
    """Another node that owns all users. It numbers from 1 on, and fails from the call `fails_at` on."""

    def __init__(self, fails_at: int, error: Exception) -> None:
        self.calls: list[Sequence[pb.AppendItem]] = []
        self._fails_at = fails_at
        self._error = error

    def owner_of(self, slot: int) -> str | None:
        return "two"

    async def append(self, owner: str, batch: pb.AppendBatch) -> pb.AppendOutcomes:
        assert batch.ByteSize() <= MESSAGE_BYTES_MAX / 10
        self.calls.append(batch.items)
        if len(self.calls) >= self._fails_at:
            raise self._error
        return pb.AppendOutcomes(numbers=[item.seq - 2**40 for item in batch.items])


def appends(*seqs: int) -> list[Append]:
    return [Append(user, LONG_CHAT, 2**40 + seq, 2**62, again=True) for seq in seqs for user in USERS]


async def test_appends_that_are_larger_than_a_call_are_several_in_their_order() -> None:
    async with World().node() as node:
        fanout, owner = node.conversations._fanout, Owner(10, Unavailable("late"))
        fanout._peers = owner
        numbers = await fanout.append(appends(1, 2, 3))
        assert [len(call) for call in owner.calls] == [APPEND_MAX] * 3
        assert numbers == [1] * APPEND_MAX + [2] * APPEND_MAX + [3] * APPEND_MAX


@pytest.mark.parametrize("error", [NotAttempted("it left meanwhile"), Unavailable("late")])
async def test_what_an_owner_did_before_it_was_left_alone_is_not_done_again(error: Unavailable) -> None:
    world = World()
    async with world.node() as node:
        fanout = node.conversations._fanout
        fanout._peers = Owner(2, error)
        numbers = await fanout.append(appends(1, 2))
        assert numbers[:APPEND_MAX] == [1] * APPEND_MAX
        # The second part is appended here: to inboxes that are empty, since the owner of this test keeps nothing.
        assert numbers[APPEND_MAX:] == [1] * APPEND_MAX
        assert {entry.seq for entries in world.database.inboxes.values() for entry in entries.values()} == {2**40 + 2}


async def test_entries_of_other_owners_users_are_appended_there() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of("bob") else "one"
    async with world.node("one") as one, world.node("two") as two:
        outcomes = await stored(one, send("ann", "bob", "a"), send("ann", "bob", "b"))
        assert [list(outcome.numbers) for outcome in outcomes] == [[1, 1], [2, 2]]
        assert (two.inboxes.cached, one.inboxes.cached) == (1, 1)


async def test_entries_of_an_owner_who_does_not_answer_are_appended_here() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of("bob") else "one"
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "a"))
        world.hood.unreachable.add("two")
        (outcome,) = await stored(one, send("ann", "bob", "b"))
        assert list(outcome.numbers) == [2, 2]
        world.hood.unreachable.clear()
        (outcome,) = await stored(one, send("ann", "bob", "c"))
        assert list(outcome.numbers) == [3, 3]
        assert [number for number, _, _ in await inbox_of(two, "bob")] == [1, 2, 3]


async def test_entries_of_an_owner_whose_database_is_out_of_its_reach_are_appended_here() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of("bob") else "one"
    faults = Faults()
    async with world.node("one") as one, world.node("two", faults=faults) as two:
        await stored(one, send("ann", "bob", "a"))
        faults.away = True
        (outcome,) = await stored(one, send("ann", "bob", "b"))
        assert list(outcome.numbers) == [2, 2]
        faults.away = False
        assert [number for number, _, _ in await inbox_of(two, "bob")] == [1, 2]


async def test_an_append_whose_answer_was_lost_is_not_made_twice() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of("bob") else "one"
    async with world.node("one") as one, world.node("two") as two:
        append = two.inboxes.append

        async def answer_lost(*args: object) -> None:
            await append(*args)  # type: ignore[arg-type]
            raise Unavailable("the answer is lost")

        two.inboxes.append = answer_lost  # type: ignore[method-assign,assignment]
        (outcome,) = await stored(one, send("ann", "bob", "a"))
        two.inboxes.append = append  # type: ignore[method-assign]
        assert list(outcome.numbers) == [1, 1]
        assert await inbox_of(two, "bob") == [(1, CHAT, 1)]


async def test_very_many_entries_go_to_their_owner_in_parts_and_here_when_it_stops_answering() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "one" if slot == slot_of(CHAT) else "two"
    users = [f"u{number}" for number in range(APPEND_MAX)]
    async with world.node("one") as one, world.node("two") as two:
        append, sizes = two.inboxes.append, list[int]()

        async def one_answer(appends: Sequence[Append]) -> list[Number]:
            sizes.append(len(appends))
            numbers = await append(appends)
            if len(sizes) == 2:
                raise Unavailable("the answer is lost")
            return numbers

        two.inboxes.append = one_answer  # type: ignore[method-assign]
        appends = [Append(user, CHAT, seq, 1) for seq in (1, 2, 3) for user in users]
        numbers = await one.conversations._fanout.append(appends)
        assert sizes == [APPEND_MAX, APPEND_MAX]
        assert numbers == [append.seq for append in appends]
        assert all(len(world.database.inboxes[user]) == 3 for user in users)
