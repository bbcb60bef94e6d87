"""Repeats are found: messages only if all that follows from them is there, changes of groups by their op."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.loading import duplicates
from services.storage.loading.documents import cached_from
from services.storage.loading.duplicates import ChangesMade, RecentSends
from services.storage.memory.conversation import CachedConversation
from services.storage.node import Storage
from services.storage.repository.records import ClientKey, OpKey, StoredMessage
from tests.unit.storage.nodes import World, change, changed, create, members_of, send, stored
from tidings_protocol.errors import TidingsError, Unavailable

StoreOutcome = pb.StoreOutcome
ChangeOutcome = pb.ChangeOutcome
G = "g:1"


async def record_of(node: Storage, group: str = G) -> pb.ConversationRecord:
    (loaded,) = await node.loads.load([pb.LoadItem(conversation=group)])
    return loaded.record


def look(sender: str, peer: str, client_id: str) -> pb.StoreItem:
    item = send(sender, peer, client_id)
    item.only_look = True
    return item


def test_the_oldest_client_ids_are_forgotten_first() -> None:
    recent = RecentSends(2)
    keys = [ClientKey("d:ann|bob", "ann", str(index)) for index in range(3)]
    for seq, key in enumerate(keys, start=1):
        recent.add(key, seq)
    assert [recent.seq_of(key) for key in keys] == [0, 2, 3]
    assert len(recent) == 2


async def test_a_look_stores_nothing() -> None:
    world = World()
    async with world.node() as node:
        [nothing] = await stored(node, look("ann", "bob", "x"))
        assert nothing.status == StoreOutcome.NOT_STORED
        assert (dict(world.database.messages), dict(world.database.conversations)) == ({}, {})


async def test_a_look_finds_the_first_outcome_with_its_numbers() -> None:
    world = World()
    async with world.node() as node:
        [first] = await stored(node, send("ann", "bob", "x", "hello"))
        [found, other] = await stored(node, look("ann", "bob", "x"), look("bob", "ann", "x"))
        assert (found.status, found.seq, found.time_ms, list(found.numbers), found.content) == (
            StoreOutcome.DUPLICATE,
            first.seq,
            first.time_ms,
            list(first.numbers),
            send("ann", "bob", "x", "hello").content,
        )
        assert other.status == StoreOutcome.NOT_STORED


async def test_a_look_finds_what_another_node_has_stored_meanwhile() -> None:
    world = World()
    world.hood.owner_of = lambda _: ""
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "x"))
        await stored(two, send("ann", "bob", "y"))
        [found] = await stored(one, look("ann", "bob", "y"))
        assert (found.status, found.seq) == (StoreOutcome.DUPLICATE, 2)


async def test_a_look_does_not_promise_what_cannot_be_settled() -> None:
    world = World()
    async with world.node() as node:
        [first] = await stored(node, send("ann", "bob", "x"))
        assert first.seq == 1

        async def away(command: str) -> None:
            if command.startswith("inbox."):
                raise Unavailable("away")

        world.database.faults.delay = away
        [failed] = await node.conversations.store([send("ann", "bob", "y")])
        assert isinstance(failed, pb.StoreOutcome)
        assert failed.status == StoreOutcome.FAILED
        [found] = await node.conversations.store([look("ann", "bob", "y")])
        assert isinstance(found, pb.StoreOutcome)
        assert found.status == StoreOutcome.FAILED
        world.database.faults.delay = None
        [found] = await stored(node, look("ann", "bob", "y"))
        assert (found.status, found.seq, list(found.numbers)) == (StoreOutcome.DUPLICATE, 2, [2, 2])


def test_conversations_whose_memory_ends_before_what_was_found_are_to_be_loaded_again() -> None:
    behind, known = cached_from("d:ann|bob", None, ()), cached_from("d:ann|cid", None, ())
    known.head = 5
    found = {
        duplicates.key_of(send("ann", peer, "x")): StoredMessage(f"d:ann|{peer}", 5, "ann", "x", 1, b"")
        for peer in ("bob", "cid", "dan")
    }
    conversations: dict[str, CachedConversation | TidingsError] = {
        "d:ann|bob": behind,
        "d:ann|cid": known,
        "d:ann|dan": Unavailable("away"),
    }
    assert duplicates.unsettled(found, conversations) == {"d:ann|bob"}


@pytest.mark.parametrize("others", [0, 3])
async def test_a_quiet_change_that_was_made_is_not_made_again_however_many_followed(others: int) -> None:
    world = World()
    add = change(G, "ann", "add", 1, joins=["bob"], keep_version=True)
    async with world.node() as node:
        await changed(node, create(G, "ann", large=True))
        await changed(node, add)
        await changed(node, change(G, "bob", "leave", 1, removed=["bob"]))
        for number in range(others):
            await changed(node, change(G, f"u{number}", "join", 2, joins=[f"u{number}"], keep_version=True))
        assert (await changed(node, add)).status == ChangeOutcome.DONE
        assert (await record_of(node)).member_count == 1 + others
    async with world.node() as node:
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=G, users=["bob"], op="add", actor="ann")])
        assert (loaded.made, list(loaded.members)) == (add, [])
        assert (await changed(node, add)).status == ChangeOutcome.DONE
        assert (await record_of(node)).member_count == 1 + others


async def test_a_change_is_found_by_its_op_with_or_without_a_notice() -> None:
    async with World().node() as node:
        made = create(G, "ann", "bob")
        await changed(node, made)
        for actor, op, expected in (("ann", "create", made), ("bob", "create", None), ("ann", "other", None)):
            (loaded,) = await node.loads.load([pb.LoadItem(conversation=G, op=op, actor=actor)])
            assert (loaded.made if loaded.HasField("made") else None) == expected


async def test_what_an_op_has_made_is_told_to_who_asks_for_something_else_with_it() -> None:
    async with World().node() as node:
        made = create(G, "ann", "bob")
        await changed(node, made)
        outcome = await changed(node, create(G, "ann", "cid"))
        assert (outcome.status, outcome.made) == (ChangeOutcome.DONE, made)
        assert sorted(await members_of(node, G)) == ["ann", "bob"]


async def test_nothing_is_read_for_no_ops_and_an_op_that_was_never_made_is_not_found() -> None:
    world = World()
    made = ChangesMade(world.database.repository())
    assert await made.find([]) == {}
    assert world.database.faults.commands == 0
    assert await made.find([OpKey(G, "ann", "never")]) == {}
