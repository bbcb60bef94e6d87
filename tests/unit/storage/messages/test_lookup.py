"""What is asked for without being stored: whether it is there, and only if all that follows from it is too."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.memory.conversation import CachedConversation
from services.storage.messages import lookup
from services.storage.messages.documents import cached_from
from services.storage.repository.records import StoredMessage
from tests.unit.storage.nodes import World, send, stored
from tidings_protocol.errors import TidingsError, Unavailable

Outcome = pb.StoreOutcome


def look(sender: str, peer: str, client_id: str) -> pb.StoreItem:
    item = send(sender, peer, client_id)
    item.only_look = True
    return item


async def test_a_look_stores_nothing() -> None:
    world = World()
    async with world.node() as node:
        [nothing] = await stored(node, look("ann", "bob", "x"))
        assert nothing.status == Outcome.NOT_STORED
        assert (dict(world.database.messages), dict(world.database.conversations)) == ({}, {})


async def test_a_look_finds_the_first_outcome_with_its_numbers() -> None:
    world = World()
    async with world.node() as node:
        [first] = await stored(node, send("ann", "bob", "x", "hello"))
        [found, other] = await stored(node, look("ann", "bob", "x"), look("bob", "ann", "x"))
        assert (found.status, found.seq, found.time_ms, list(found.numbers), found.content) == (
            Outcome.DUPLICATE,
            first.seq,
            first.time_ms,
            list(first.numbers),
            send("ann", "bob", "x", "hello").content,
        )
        assert other.status == Outcome.NOT_STORED


async def test_a_look_finds_what_another_node_has_stored_meanwhile() -> None:
    world = World()
    world.hood.owner_of = lambda _: ""
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "x"))
        await stored(two, send("ann", "bob", "y"))
        [found] = await stored(one, look("ann", "bob", "y"))
        assert (found.status, found.seq) == (Outcome.DUPLICATE, 2)


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
        assert failed.status == Outcome.FAILED
        [found] = await node.conversations.store([look("ann", "bob", "y")])
        assert isinstance(found, pb.StoreOutcome)
        assert found.status == Outcome.FAILED
        world.database.faults.delay = None
        [found] = await stored(node, look("ann", "bob", "y"))
        assert (found.status, found.seq, list(found.numbers)) == (Outcome.DUPLICATE, 2, [2, 2])


def test_conversations_whose_memory_ends_before_what_was_found_are_to_be_loaded_again() -> None:
    behind, known = cached_from("d:ann|bob", None, ()), cached_from("d:ann|cid", None, ())
    known.head = 5
    found = {
        lookup.key_of(send("ann", peer, "x")): StoredMessage(f"d:ann|{peer}", 5, "ann", "x", 1, b"")
        for peer in ("bob", "cid", "dan")
    }
    conversations: dict[str, CachedConversation | TidingsError] = {
        "d:ann|bob": behind,
        "d:ann|cid": known,
        "d:ann|dan": Unavailable("away"),
    }
    assert lookup.unsettled(found, conversations) == {"d:ann|bob"}
