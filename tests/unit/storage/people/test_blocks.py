"""Blocks: in force at once where the chat is, bounded, one way."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.people.blocks import BLOCKS_MAX
from services.storage.repository.people import BlockKey
from tests.unit.storage.nodes import World, send, stored, stored_rows
from tidings_protocol.errors import BadRequest, TidingsError, Unavailable
from tidings_protocol.ids import slot_of

REFUSED = pb.StoreOutcome.REFUSED
CHAT = "d:ann|bob"


async def block(node: Storage, user: str, *others: str, blocked: bool = True) -> None:
    [outcome] = await node.blocks.block([pb.BlockItem(user=user, users=others, blocked=blocked)])
    if isinstance(outcome, TidingsError):
        raise outcome


async def test_whoever_is_blocked_sends_nothing_to_who_blocks_and_the_other_way_all_goes_on() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"))
        await block(node, "bob", "ann")
        [refused, sent] = await stored(node, send("ann", "bob", "b"), send("bob", "ann", "c"))
        assert (refused.status, refused.fault.code, refused.seq) == (REFUSED, "FORBIDDEN", 0)
        assert "does not take messages from you" in refused.fault.message
        assert (sent.status, sent.seq) == (pb.StoreOutcome.STORED, 2)
        await block(node, "bob", "ann", blocked=False)
        [again] = await stored(node, send("ann", "bob", "b"))
        assert (again.status, again.seq) == (pb.StoreOutcome.STORED, 3)


async def test_rows_that_come_as_columns_are_refused_as_well() -> None:
    async with World().node() as node:
        await stored_rows(node, send("ann", "bob", "a"), send("bob", "ann", "b"))
        assert node.conversations.memory.peek(CHAT)
        await block(node, "bob", "ann")
        outcomes = await stored_rows(node, send("ann", "bob", "c"), send("bob", "ann", "d"), send("ann", "cid", "e"))
        assert [(each.status, each.seq) for each in outcomes] == [(REFUSED, 0), (0, 3), (0, 1)]


async def test_a_repeat_of_what_was_stored_before_is_a_duplicate_also_for_who_is_blocked() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"))
        await block(node, "bob", "ann")
        [again] = await stored(node, send("ann", "bob", "a"))
        assert (again.status, again.seq) == (pb.StoreOutcome.DUPLICATE, 1)


async def test_a_refused_message_makes_no_chat() -> None:
    world = World()
    async with world.node() as node:
        await block(node, "bob", "ann")
        [refused] = await stored(node, send("ann", "bob", "a"))
        assert refused.status == REFUSED
        assert CHAT not in world.database.conversations
        assert not world.database.members[CHAT]
        [sent] = await stored(node, send("bob", "ann", "b"))
        assert sent.seq == 1


async def test_a_block_is_found_by_whoever_loads_the_chat_and_is_told_of_its_record() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        await block(node, "bob", "ann")
    async with world.node() as node:
        [loaded] = await node.loads.load([pb.LoadItem(conversation=CHAT, narrow=True)])
        assert loaded.record.blockers == ["bob"]
        [refused] = await stored(node, send("ann", "bob", "b"))
        assert refused.status == REFUSED


async def test_a_block_is_in_force_at_another_node_that_owns_the_chat() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of(CHAT) else "one"
    async with world.node("one") as one, world.node("two") as two:
        await stored(two, send("ann", "bob", "a"))
        await block(one, "bob", "ann")
        [refused] = await stored(two, send("ann", "bob", "b"))
        assert refused.status == REFUSED
        await block(one, "bob", "ann", blocked=False)
        [sent] = await stored(two, send("ann", "bob", "b"))
        assert sent.seq == 2


async def test_an_owner_that_cannot_be_told_is_told_later_and_the_caller_hears_of_it() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of(CHAT) else "one"
    async with world.node("one") as one, world.node("two") as two:
        await stored(two, send("ann", "bob", "a"))
        world.hood.unreachable.add("two")
        with pytest.raises(Unavailable):
            await block(one, "bob", "ann")
        world.hood.unreachable.clear()
        assert await one.invalidation.flush()
        [refused] = await stored(two, send("ann", "bob", "b"))
        assert refused.status == REFUSED


async def test_a_user_blocks_so_many_and_no_more() -> None:
    world = World()
    async with world.node() as node:
        world.database.blocks.update({BlockKey("bob", f"u{n}"): 1 for n in range(BLOCKS_MAX - 1)})
        with pytest.raises(BadRequest, match="at most 1000"):
            await block(node, "bob", "ann", "cid")
        await block(node, "bob", "ann", "u1")
        await block(node, "bob", "ann", "u2")
        with pytest.raises(BadRequest):
            await block(node, "bob", "cid")
        await block(node, "bob", "u1", blocked=False)
        await block(node, "bob", "cid")


async def test_it_is_told_since_when_somebody_is_blocked_and_whom_a_user_blocks() -> None:
    world = World()
    async with world.node() as node:
        world.clock.advance(5)
        await block(node, "bob", "eve", "ann", "cid")
        now_ms = world.clock.wall_ms()
        [theirs, none] = await node.blocks.blocked(
            [pb.BlockedItem(user="bob", users=["ann", "dan"]), pb.BlockedItem(user="ann", users=["bob"])]
        )
        assert (list(theirs.since_ms), list(none.since_ms)) == ([now_ms, 0], [0])
        [first] = await node.blocks.listed([pb.BlockListItem(user="bob", limit=2)])
        assert (list(first.users), first.more) == (["ann", "cid"], True)
        [rest] = await node.blocks.listed([pb.BlockListItem(user="bob", after="cid", limit=2)])
        assert (list(rest.users), rest.more) == (["eve"], False)


async def test_one_request_that_fails_leaves_the_others_their_outcomes() -> None:
    world = World()
    async with world.node() as node:
        world.database.blocks.update({BlockKey("bob", f"u{n}"): 1 for n in range(BLOCKS_MAX)})
        outcomes = await node.blocks.block(
            [pb.BlockItem(user=user, users=["zoe"], blocked=True) for user in ("bob", "cid")]
        )
        assert isinstance(outcomes[0], BadRequest)
        assert isinstance(outcomes[1], pb.BlockOutcome)
