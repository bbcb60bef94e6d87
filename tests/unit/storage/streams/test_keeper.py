"""Streams are written, found again, and ended when they fall silent."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.folding.shown import shown
from services.storage.limits import Limits
from services.storage.repository.memory import Faults
from services.storage.streams.keeper import LOOK_S
from tests.unit.storage.changing import act, entry, finish_of, one, pin, text_of
from tests.unit.storage.nodes import World, changed, create, inbox_of, send, stored
from tests.unit.storage.streams.streaming import CHAT, Told, stream, take
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable


def world_of(**limits: float) -> World:
    return World(limits=replace(Limits(flush_interval_s=1e6), **limits))  # type: ignore[arg-type]


def shown_now(world: World, seq: int) -> client_pb2.Message:
    """The message as a reader of the database is shown it."""
    return client_pb2.Message.FromString(shown(entry(world, seq), world.clock.wall_ms()))


async def test_the_text_so_far_is_written_without_a_change() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, stream("ann", "bob", "c1", "so "))
        await take(node, (1, "far"))
        assert entry(world, 1).parts == 0
        await node.keeper.tick()
        message = shown_now(world, 1)
        assert (message.content.text, message.state.streaming, message.state.parts, message.state.revision) == (
            "so far",
            True,
            1,
            0,
        )
        assert world.database.conversations[CHAT].streams == (1,)
        assert sorted(world.database.messages[CHAT]) == [1]


async def test_a_history_has_what_is_not_written_yet() -> None:
    async with World().node() as node:
        await stored(node, stream("ann", "bob", "c1", "so "), send("ann", "bob", "c2", "other"))
        await take(node, (1, "far"))
        (page,) = await node.pages.history([pb.HistoryItem(conversation=CHAT, after=0)])
        first, second = (client_pb2.Message.FromString(entry.message) for entry in page.entries)
        assert (first.content.text, first.content.streaming, first.state.parts) == ("so far", True, 1)
        assert second.content.text == "other"


async def test_what_could_not_be_written_is_written_the_next_time() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, stream("ann", "bob", "c1"))
        await take(node, (1, "a"))
        world.database.faults.refuse(1)
        with pytest.raises(Unavailable):
            await node.keeper.tick()
        await node.keeper.tick()
        assert text_of(entry(world, 1)) == "a"


async def test_a_node_that_is_left_writes_what_it_has() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, stream("ann", "bob", "c1"))
        await take(node, (1, "a"))
    assert text_of(entry(world, 1)) == "a"


async def test_a_change_of_a_stream_and_its_text_do_not_undo_each_other() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, stream("ann", "bob", "c1"))
        await take(node, (1, "a"))
        await stored(node, pin("bob", "ann", "p1", 1))
        await take(node, (2, "b"))
        await node.keeper.tick()
        message = shown_now(world, 1)
        assert (message.content.text, message.state.parts, message.state.pinned) == ("ab", 2, True)
        assert message.state.streaming


async def test_one_that_falls_silent_is_ended_with_what_is_there_and_all_are_told() -> None:
    world, told = world_of(stream_idle_s=60.0), Told()
    async with world.node(teller=told) as node:
        await stored(node, stream("ann", "bob", "c1"))
        await take(node, (1, "a"), (2, "b"))
        world.clock.advance(59)
        await node.keeper.tick()
        assert not told.items
        world.clock.advance(2)
        await node.keeper.tick()
        (item,) = told.items
        message = client_pb2.Message.FromString(item.message)
        assert (list(item.recipients), list(item.numbers)) == (["ann", "bob"], [2, 2])
        assert (message.seq, message.sender, message.change.finish.text, message.state.streaming) == (
            2,
            "ann",
            "ab",
            False,
        )
        assert await inbox_of(node, "bob") == [(1, CHAT, 1), (2, CHAT, 2)]
        await node.keeper.tick()
        assert (len(told.items), node.streams.count) == (1, 0)
        assert world.database.conversations[CHAT].streams == ()
        assert (await one(node, act("ann", "bob", "late", finish_of(1)))).fault.code == "BAD_REQUEST"


async def test_any_part_is_a_sign_of_life() -> None:
    world, told = world_of(stream_idle_s=60.0), Told()
    async with world.node(teller=told) as node:
        await stored(node, stream("ann", "bob", "c1"))
        for _ in range(5):
            world.clock.advance(50)
            await take(node, (1, ""))
            await node.keeper.tick()
        assert not told.items


async def test_a_silent_stream_of_a_group_ends_whatever_became_of_the_group_meanwhile() -> None:
    world, told = world_of(stream_idle_s=60.0), Told()
    async with world.node(teller=told) as node:
        await changed(node, create("g:1", "ann", "bob", "cleo"))
        item = stream("ann", "bob", "c1", "hello")
        item.conversation, item.version = "g:1", 1
        item.recipients[:] = ["ann", "bob", "cleo"]
        await stored(node, item)
        world.clock.advance(61)
        await node.keeper.tick()
        assert sorted(told.items[0].recipients) == ["ann", "bob", "cleo"]


async def test_one_whose_owner_died_is_found_and_ended_by_the_next() -> None:
    world, told = world_of(stream_idle_s=60.0), Told()
    async with AsyncExitStack() as stack:
        first = await world.crashed(stack)
        await stored(first, stream("ann", "bob", "c1", "left "))
        await take(first, (1, "alone"))
        await first.keeper.tick()
    world.clock.advance(3600)
    async with world.node("two", teller=told) as second:
        world.hood.owner_of = lambda _: "two"
        await second.keeper.tick()  # it finds the conversation, which nobody has asked for
        await second.keeper.tick()
        assert (second.streams.count, told.items) == (1, [])
        world.clock.advance(61)
        await second.keeper.tick()
        (item,) = told.items
        assert client_pb2.Message.FromString(item.message).change.finish.text == "left alone"


async def test_one_that_was_stored_and_named_by_nobody_is_found_when_its_conversation_is_loaded() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        faults = Faults()
        first = await stack.enter_async_context(world.node(faults=faults))
        stack.callback(setattr, faults, "away", True)
        await stored(first, send("ann", "bob", "c0"))

        async def die_before_naming(command: str) -> None:
            if command == "streams.name":
                raise Unavailable("away")

        faults.delay = die_before_naming
        [outcome] = await first.conversations.store([stream("ann", "bob", "c1")])
        assert isinstance(outcome, Unavailable)
    assert world.database.conversations[CHAT].streams == ()
    async with world.node("two") as second:
        world.hood.owner_of = lambda _: "two"
        await second.conversations.get([CHAT])
        assert world.database.conversations[CHAT].streams == (2,), "named before it counts as settled"
        await second.keeper.tick()
        assert second.streams.count == 1


async def test_a_name_that_stayed_behind_is_taken_off() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, stream("ann", "bob", "c1"), send("ann", "bob", "c2"))
        await stored(node, act("ann", "bob", "c3", finish_of(1)))
        await node.keeper.tick()
        world.database.conversations[CHAT] = replace(world.database.conversations[CHAT], streams=(1, 2, 77))
    async with world.node("two") as second:
        world.hood.owner_of = lambda _: "two"
        await second.conversations.get([CHAT])
        await second.keeper.tick()
        assert world.database.conversations[CHAT].streams == ()


async def test_what_nobody_looks_after_is_looked_for_again_and_again() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "c1"))
        await node.keeper.tick()
        async with world.node("two") as other:
            world.hood.owner_of = lambda _: "two"
            await stored(other, stream("ann", "bob", "c2"))
        world.hood.owner_of = lambda _: "one"
        await node.keeper.tick()
        assert node.streams.count == 0
        world.clock.advance(LOOK_S)
        await node.keeper.tick()
        await node.keeper.tick()
        assert node.streams.count == 1


async def test_streams_of_others_are_left_to_them() -> None:
    world, told = world_of(stream_idle_s=60.0), Told()
    async with world.node("one") as first, world.node("two", teller=told) as second:
        await stored(first, stream("ann", "bob", "c1"))
        world.clock.advance(61)
        await second.keeper.tick()
        assert not told.items
