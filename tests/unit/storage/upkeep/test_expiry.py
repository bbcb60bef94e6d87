"""Messages whose time is over: nothing of what was in them is left."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.folding.shown import shown
from services.storage.repository.memory import Faults
from services.storage.upkeep.expiry import STEP
from tests.unit.storage.changing import act, edit, entry, finish_of, one, pin, recall, special, state_of
from tests.unit.storage.nodes import World, send, stored
from tests.unit.storage.streams.streaming import stream, take
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable

CHAT = "d:ann|bob"


def fleeting(client_id: str, text: str = "secret", *, seconds: int = 60) -> pb.StoreItem:
    return special(send("ann", "bob", client_id, text), expire_after_s=seconds, mentions=["bob"])


def seen(world: World, seq: int) -> client_pb2.Message:
    return client_pb2.Message.FromString(shown(entry(world, seq), world.clock.wall_ms()))


async def test_content_mentions_and_what_changes_say_are_erased_when_the_time_is_over() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, fleeting("c1"), send("ann", "bob", "c2", "stays"))
        await stored(node, edit("ann", "bob", "e1", 1, "secret too"))
        assert await node.expiry.sweep() == 0
        world.clock.advance(60)
        before = seen(world, 1)
        assert (before.state.recalled_by, before.HasField("content")) == ("~expiry", False)
        world.clock.advance(4)
        assert await node.expiry.sweep() == 1
        assert b"secret" not in b"".join(each.content for each in world.database.messages[CHAT].values())
        assert (entry(world, 1).content, entry(world, 1).mentions, entry(world, 3).content) == (b"", (), b"")
        after = seen(world, 1)
        assert (after.state.recalled_by, after.state.revision, after.expires_ms) == ("~expiry", 3, before.expires_ms)
        assert seen(world, 2).content.text == "stays"
        assert sorted(world.database.messages[CHAT]) == [1, 2, 3], "without a CHANGE"
        assert await node.expiry.sweep() == 0


async def test_an_edit_does_not_renew_it_and_a_stream_counts_from_its_start() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, fleeting("c1"), stream("ann", "bob", "s1", expire_after_s=60))
        world.clock.advance(50)
        await stored(node, edit("ann", "bob", "e1", 1, "secret"))
        await take(node, (1, "secret"), seq=2)
        await stored(node, act("ann", "bob", "f1", finish_of(2, parts=1)))
        world.clock.advance(14)
        assert await node.expiry.sweep() == 2
        assert not any(each.content for each in world.database.messages[CHAT].values())


async def test_what_is_pinned_is_pinned_no_more() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, fleeting("c1"), send("ann", "bob", "c2"))
        await stored(node, pin("bob", "ann", "p1", 1), pin("bob", "ann", "p2", 2))
        world.clock.advance(64)
        await node.expiry.sweep()
        conversation = node.conversations.memory.peek(CHAT)
        assert conversation is not None
        assert world.database.conversations[CHAT].pinned == conversation.document.pinned == (2,)
        # A round that was under way writes what it knew.
        conversation.document = replace(conversation.document, pinned=(2, 1))
        world.database.conversations[CHAT] = replace(world.database.conversations[CHAT], pinned=(2, 1))
        await node.expiry.sweep()
        assert world.database.conversations[CHAT].pinned == conversation.document.pinned == (2,)
        await node.expiry.sweep()
        assert world.database.erased >= {(CHAT, 1)}
        assert await node.expiry.sweep() == 0


async def test_it_leaves_what_is_pinned_when_its_time_is_over_and_not_when_it_is_erased() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, fleeting("c1"), send("ann", "bob", "c2"))
        await stored(node, pin("bob", "ann", "p1", 1), pin("bob", "ann", "p2", 2))
        world.clock.advance(59)
        await node.expiry.sweep()
        assert world.database.conversations[CHAT].pinned == (2, 1)
        world.clock.advance(1)
        assert await node.expiry.sweep() == 0
        conversation = node.conversations.memory.peek(CHAT)
        assert conversation is not None
        assert world.database.conversations[CHAT].pinned == conversation.document.pinned == (2,)
    async with world.node() as other:
        # It is nowhere in memory; what was pinned by a round that was under way is found all the same.
        world.database.conversations[CHAT] = replace(world.database.conversations[CHAT], pinned=(2, 1))
        assert await other.expiry.sweep() == 0
        assert world.database.conversations[CHAT].pinned == (2,)


async def test_nothing_changes_it_any_more() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, fleeting("c1"))
        world.clock.advance(64)
        for swept in (False, True):
            if swept:
                await node.expiry.sweep()
            for number, item in enumerate((edit("ann", "bob", "e", 1), pin("bob", "ann", "p", 1))):
                item.client_id += f"{swept}{number}"
                assert (await one(node, item)).fault.code == "FORBIDDEN"
            again = await one(node, recall("ann", "bob", f"r{swept}", 1))
            assert (again.seq, state_of(again).recalled_by) == (0, "~expiry")
            assert sorted(world.database.messages[CHAT]) == [1]


async def test_what_was_recalled_before_stays_recalled_by_whom_it_was() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, fleeting("c1"))
        await stored(node, recall("ann", "bob", "r1", 1))
        world.clock.advance(64)
        assert await node.expiry.sweep() == 1
        assert seen(world, 1).state.recalled_by == "ann"
        assert await node.expiry.sweep() == 0


async def test_a_change_that_a_dead_node_left_behind_brings_nothing_back() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        faults = Faults()
        first = await stack.enter_async_context(world.node(faults=faults))
        stack.callback(setattr, faults, "away", True)
        await stored(first, fleeting("c1"))

        async def die_before_folding(command: str) -> None:
            if command == "messages.fold":
                raise Unavailable("away")

        faults.delay = die_before_folding
        await first.conversations.store([edit("ann", "bob", "e1", 1, "secret too")])
    assert entry(world, 2).content
    world.clock.advance(64)
    async with world.node("two") as second:
        world.hood.owner_of = lambda _: "two"
        assert await second.expiry.sweep() == 1
        await second.conversations.get([CHAT])
        assert not any(each.content for each in world.database.messages[CHAT].values())
        assert seen(world, 1).state.recalled_by == "~expiry"


async def test_each_node_erases_what_is_its_own_and_nothing_while_the_time_is_in_doubt() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, fleeting("c1"))
        world.clock.advance(64)
        world.hood.owner_of = lambda _: "two"
        assert await node.expiry.sweep() == 0
        world.hood.owner_of = lambda _: "one"
        world.clock.jump(3_600_000)
        await node.retention.sweep()  # it measures the time
        assert await node.expiry.sweep() == 0
        assert entry(world, 1).content


@pytest.mark.parametrize("count", [0, 1, STEP - 1, STEP, 2 * STEP + 203])
async def test_however_many_there_are_all_are_erased_in_one_sweep(count: int) -> None:
    world = World()
    async with world.node() as node:
        for start in range(0, count, 100):
            await stored(node, *(fleeting(f"c{start + index}") for index in range(min(100, count - start))))
        world.clock.advance(64)
        assert await node.expiry.sweep() == count
        assert not any(each.content for each in world.database.messages[CHAT].values())
