"""Changes of messages through a storage node: what is stored, what becomes of the target, what is answered."""

from __future__ import annotations

from contextlib import AsyncExitStack

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.repository.memory import Faults
from tests.unit.storage.changing import (
    CHAT,
    edit,
    entry,
    failed,
    one,
    recall,
    state_of,
    text_of,
    told_of,
)
from tests.unit.storage.nodes import World, inbox_of, send, stored
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable

Outcome = pb.StoreOutcome


async def test_an_edit_is_an_entry_of_its_own_and_its_target_has_the_new_content() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a", "helo"))
        world.clock.advance(5)
        outcome = await one(node, edit("ann", "bob", "e", 1, "hello"))
        assert (outcome.status, outcome.seq, outcome.ordinal) == (Outcome.STORED, 2, 0)
        assert list(outcome.numbers) == [2, 2]
        target = entry(world, 1)
        assert text_of(target) == "hello"
        assert state_of(outcome) == client_pb2.State(revision=2, edited_ms=entry(world, 2).time_ms)
        told = told_of(outcome)
        assert (told.kind, told.seq, told.ordinal, told.change.seq) == (client_pb2.Message.CHANGE, 2, 0, 1)
        assert (told.change.edit.text, told.state) == ("hello", state_of(outcome))
        assert not told.HasField("content")
        [record] = await node.loads.load([pb.LoadItem(conversation=CHAT)])
        assert (record.record.head, record.record.ordinal, record.record.shown) == (2, 1, 1)
        assert await inbox_of(node, "bob") == [(1, CHAT, 1), (2, CHAT, 2)]


async def test_only_the_newest_edit_carries_content() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a", "one"))
        await one(node, edit("ann", "bob", "e", 1, "two"))
        await one(node, edit("ann", "bob", "f", 1, "three"))
    assert [text_of(entry(world, seq)) for seq in (1, 2, 3)] == ["three", "", "three"]


async def test_a_recall_leaves_no_content_anywhere() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a", "one"))
        await one(node, edit("ann", "bob", "e", 1, "two"))
        outcome = await one(node, recall("ann", "bob", "r", 1))
        assert state_of(outcome) == client_pb2.State(revision=3, recalled_by="ann")
        assert [entry(world, seq).content for seq in (1, 2, 3)] == [b"", b"", b""]
        again = await one(node, recall("ann", "bob", "again", 1))
        assert (again.status, again.seq, again.message) == (Outcome.STORED, 3, b"")
        assert state_of(again) == state_of(outcome)
        refused = await one(node, edit("ann", "bob", "late", 1))
        assert (refused.status, refused.fault.code) == (Outcome.REFUSED, "FORBIDDEN")
        [message] = await stored(node, send("bob", "ann", "b"))
        assert (message.seq, message.ordinal) == (4, 2)


async def test_changes_of_one_batch_are_judged_each_on_what_those_before_leave() -> None:
    world = World()
    async with world.node() as node:
        outcomes = await stored(
            node,
            send("ann", "bob", "a", "one"),
            edit("ann", "bob", "e", 1, "two"),
            recall("ann", "bob", "r", 1),
            edit("ann", "bob", "f", 1, "three"),
            recall("ann", "bob", "s", 1),
            send("bob", "ann", "b"),
        )
        assert [(each.status, each.seq) for each in outcomes] == [
            (Outcome.STORED, 1),
            (Outcome.STORED, 2),
            (Outcome.STORED, 3),
            (Outcome.REFUSED, 0),
            (Outcome.STORED, 3),
            (Outcome.STORED, 4),
        ]
        assert told_of(outcomes[1]).change.edit.text == "two"
        assert entry(world, 1).content == entry(world, 2).content == b""


async def test_a_repeat_is_answered_with_the_state_of_now() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a", "one"))
        first = await one(node, edit("ann", "bob", "e", 1, "two"))
        last = await one(node, edit("ann", "bob", "f", 1, "three"))
        again = await one(node, edit("ann", "bob", "e", 1, "two"))
        assert (again.status, again.seq, again.time_ms) == (Outcome.DUPLICATE, first.seq, first.time_ms)
        assert list(again.numbers) == list(first.numbers)
        assert state_of(again) == state_of(last)
        assert not told_of(again).change.edit.text
    async with world.node() as node:
        again = await one(node, edit("ann", "bob", "f", 1, "three"))
        assert (again.status, again.seq, told_of(again).change.edit.text) == (Outcome.DUPLICATE, 3, "three")


async def test_a_client_id_is_of_a_send_or_of_a_change() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        await one(node, edit("ann", "bob", "e", 1))
        for item in (edit("ann", "bob", "a", 1), send("ann", "bob", "e")):
            outcome = await one(node, item)
            assert (outcome.status, outcome.fault.code) == (Outcome.REFUSED, "BAD_REQUEST")
    async with world.node() as node:
        for item in (edit("ann", "bob", "a", 1), send("ann", "bob", "e"), edit("ann", "bob", "a", 7)):
            outcome = await one(node, item)
            assert (outcome.status, outcome.fault.code) == (Outcome.REFUSED, "BAD_REQUEST")
    assert len(world.database.messages[CHAT]) == 2


async def test_a_node_that_died_after_the_insert_has_its_changes_folded_by_the_next() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        faults = Faults()
        node = await stack.enter_async_context(world.node(faults=faults))
        await stored(node, send("ann", "bob", "a", "one"))

        async def die(name: str) -> None:
            if name == "messages.fold":
                faults.away = True

        faults.delay = die
        assert isinstance(await failed(node, edit("ann", "bob", "e", 1, "two")), Unavailable)
        assert text_of(entry(world, 1)) == "one"
        async with world.node("two") as other:
            again = await one(other, edit("ann", "bob", "e", 1, "two"))
            assert (again.status, again.seq) == (Outcome.DUPLICATE, 2)
            assert text_of(entry(world, 1)) == "two"
