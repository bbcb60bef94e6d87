"""Retention: what it removes, what it passes over, and what pages show of that."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.bus.memory import MemoryBroker
from services.storage.limits import Limits
from services.storage.repository.records import ConversationDocument, StoredMessage
from services.storage.upkeep.retention import RetentionPolicy
from tests.unit.storage.changing import edit, one, pin, special
from tests.unit.storage.nodes import World, inbox_of, quiet, send, stored
from tests.unit.storage.streams.streaming import stream
from tidings_protocol.errors import Unavailable

DAY_S = 24 * 3600.0
WEEKLY = RetentionPolicy(message_days=7, interval_s=1e6, pause_s=0)


async def test_inbox_entries_go_with_their_messages() -> None:
    world = World()
    async with world.node(policy=WEEKLY) as node:
        await stored(node, *(send("ann", "bob", f"old{index}") for index in range(5)))
        world.clock.advance(8 * DAY_S)
        await stored(node, send("ann", "bob", "new"))
        await node.retention.sweep()
        assert sorted(world.database.inboxes["bob"]) == [6]


async def test_a_device_far_behind_has_todays_messages_within_a_few_pages() -> None:
    """Also before retention has come to its inbox: entries whose messages are gone are passed over."""
    world = World()
    async with world.node(policy=WEEKLY) as node:
        for start in range(0, 20_000, 250):
            await stored(node, *(send("ann", "bob", f"old{start + index}") for index in range(250)))
        world.clock.advance(8 * DAY_S)
        await stored(node, *(send("cleo", "bob", f"new{index}") for index in range(3)))
        kept = dict(world.database.inboxes["bob"])
        await node.retention.sweep()
        for entries in (dict(world.database.inboxes["bob"]), kept):
            world.database.inboxes["bob"] = entries
            after, pages, numbers, more = 10, 0, list[int](), True
            while more:
                (page,) = await node.pages.inbox([pb.InboxItem(user="bob", after=after, limit=200)])
                assert page.next > after or not page.more, "a page moves"
                numbers += [entry.number for entry in page.entries]
                after, more, pages = page.next, page.more, pages + 1
                assert page.truncated
            assert numbers == [20_001, 20_002, 20_003]
            assert pages <= 3


async def test_the_next_sweep_begins_where_the_last_one_was_interrupted() -> None:
    world = World()
    async with world.node(policy=WEEKLY) as node:
        for index in range(120):
            await stored(node, send("ann", f"peer{index:03}", "old"))
        world.clock.advance(8 * DAY_S)
        reads = 0

        async def away_after_one_page(command: str) -> None:
            nonlocal reads
            reads += command == "conversations.after"
            if reads > 1:
                raise Unavailable("away")

        world.database.faults.delay = away_after_one_page
        for _ in range(3):
            reads = 0
            try:
                await node.retention.sweep()
            except Unavailable:
                continue
        world.database.faults.delay = None
        assert not any(world.database.messages.values())


async def test_a_conversation_that_cannot_be_loaded_keeps_none_behind_it() -> None:
    world = World()
    async with world.node(policy=WEEKLY) as node:
        await stored(node, send("ann", "bob", "old"))
        broken = StoredMessage("?", 1, "ann", "c", 1, b"")
        world.database.conversations["?"] = ConversationDocument("?", 1, head=1, settled=1)
        world.database.messages["?"][1] = broken
        world.clock.advance(8 * DAY_S)
        await node.retention.sweep()
        assert (world.database.messages["?"], world.database.messages["d:ann|bob"]) == ({1: broken}, {})


async def test_old_messages_are_removed_and_pages_say_so() -> None:
    world = World()
    policy = RetentionPolicy(message_days=10, interval_s=1e6, step=2)
    async with world.node(policy=policy) as node:
        await stored(node, *(send("ann", "bob", f"old{index}") for index in range(5)))
        world.clock.advance(20 * DAY_S)
        await stored(node, send("ann", "bob", "new"))
        await node.retention.sweep()
        assert sorted(world.database.messages["d:ann|bob"]) == [6]
        (page,) = await node.pages.history([pb.HistoryItem(conversation="d:ann|bob", after=0)])
        assert (len(page.entries), page.truncated, page.head) == (1, True, 6)
        (page,) = await node.pages.history([pb.HistoryItem(conversation="d:ann|bob")])
        assert (page.truncated, page.more) == (True, False)
        (inbox,) = await node.pages.inbox([pb.InboxItem(user="bob")])
        assert ([entry.number for entry in inbox.entries], inbox.truncated) == ([6], True)
        (outcome,) = await stored(node, send("ann", "bob", "reply", reply_to=5))
        assert outcome.status == pb.StoreOutcome.NO_SUCH_REPLY


async def test_a_conversation_whose_messages_are_all_gone_goes_on_with_the_next_number() -> None:
    world = World()
    async with world.node(policy=RetentionPolicy(message_days=1, interval_s=1e6)) as node:
        await stored(node, *(send("ann", "bob", f"old{index}") for index in range(3)))
        world.clock.advance(20 * DAY_S)
        await node.retention.sweep()
        assert world.database.messages["d:ann|bob"] == {}
        (page,) = await node.lists.pages([pb.ConversationsItem(user="ann")])
        assert (page.entries[0].record.head, page.entries[0].last) == (3, b"")
    async with world.node() as node:
        assert [outcome.seq for outcome in await stored(node, send("ann", "bob", "next"))] == [4]


async def test_old_inbox_entries_are_removed_but_never_the_newest() -> None:
    world = World()
    async with world.node(policy=RetentionPolicy(inbox_days=10, interval_s=1e6, step=2)) as node:
        await stored(node, *(send("ann", "bob", f"old{index}") for index in range(5)))
        world.clock.advance(20 * DAY_S)
        await node.retention.sweep()
        assert sorted(world.database.inboxes["bob"]) == [5]
        (page,) = await node.pages.inbox([pb.InboxItem(user="bob", after=1)])
        assert ([entry.number for entry in page.entries], page.truncated) == ([5], True)
        (page,) = await node.pages.inbox([pb.InboxItem(user="bob", after=4)])
        assert not page.truncated
    async with world.node() as node:
        await stored(node, send("ann", "bob", "next"))
        assert [number for number, _, _ in await inbox_of(node, "bob")] == [5, 6]


async def test_what_another_node_owns_is_left_to_it() -> None:
    world = World()
    async with world.node(policy=RetentionPolicy(1, 1, interval_s=1e6)) as node:
        await stored(node, send("ann", "bob", "old"), send("ann", "bob", "older"))
        world.clock.advance(20 * DAY_S)
        world.hood.owner_of = lambda _: "two"
        await node.retention.sweep()
        assert len(world.database.messages["d:ann|bob"]) == 2
        assert len(world.database.inboxes["bob"]) == 2


async def test_a_message_that_was_not_told_is_kept_until_it_is() -> None:
    world = World(broker=(broker := MemoryBroker()))
    async with world.node(policy=WEEKLY) as node:
        await stored(node, send("ann", "bob", "told"))
        await quiet(node)
        broker.away()
        await stored(node, send("ann", "bob", "not told"))
        world.clock.advance(8 * DAY_S)
        await node.retention.sweep()
        assert sorted(world.database.messages["d:ann|bob"]) == [1, 2]
        broker.back()
        await quiet(node)
        await node.retention.sweep()
        assert not world.database.messages["d:ann|bob"]
        assert world.seqs("d:ann|bob") == [1, 2]


async def test_what_lies_elsewhere_of_a_message_goes_with_it_and_the_changes_keep_their_places() -> None:
    world = World()
    async with world.node(policy=WEEKLY) as node:
        await stored(
            node, special(send("ann", "bob", "c1", "secret"), mentions=["bob"]), send("ann", "bob", "c2", "old")
        )
        world.clock.advance(4 * DAY_S)
        await stored(node, edit("ann", "bob", "e1", 1, "secret too", mentions=["ann"]))
        await stored(node, pin("bob", "ann", "p1", 1), send("ann", "bob", "c3", "new"), pin("bob", "ann", "p2", 5))
        world.clock.advance(4 * DAY_S)
        await node.retention.sweep()
        left = world.database.messages["d:ann|bob"]
        assert sorted(left) == [3, 4, 5, 6]
        assert (left[3].content, left[3].mentions) == (b"", ())
        document = world.database.conversations["d:ann|bob"]
        conversation = node.conversations.memory.peek("d:ann|bob")
        assert conversation is not None
        assert document.pinned == conversation.document.pinned == (5,)
        assert (await one(node, edit("ann", "bob", "e2", 1))).fault.code == "NOT_FOUND"
        assert (await one(node, edit("ann", "bob", "e3", 5))).seq == 7


async def test_ordinals_go_on_when_everything_is_gone_also_for_the_next_owner() -> None:
    world = World()
    async with world.node(policy=WEEKLY) as node:
        await stored(node, send("ann", "bob", "c1"), send("ann", "bob", "c2"))
        await stored(node, edit("ann", "bob", "e1", 1))
        world.clock.advance(8 * DAY_S)
        await node.retention.sweep()
        assert not world.database.messages["d:ann|bob"]
    async with world.node("two") as node:
        world.hood.owner_of = lambda _: "two"
        outcome = await one(node, send("ann", "bob", "c3"))
        assert (outcome.seq, outcome.ordinal) == (4, 3)


async def test_a_client_id_is_known_as_long_as_its_message_is_there() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, recent_sends_max=0))
    async with world.node(policy=WEEKLY) as node:
        await stored(node, send("ann", "bob", "c1"))
        world.clock.advance(6 * DAY_S)
        assert (await one(node, send("ann", "bob", "c1"))).status == pb.StoreOutcome.DUPLICATE
        world.clock.advance(2 * DAY_S)
        await node.retention.sweep()
        again = await one(node, send("ann", "bob", "c1"))
        assert (again.status, again.seq) == (pb.StoreOutcome.STORED, 2)


async def test_inbox_entries_of_members_go_before_the_lap_over_all_users_comes_to_them() -> None:
    world = World()
    async with world.node(policy=WEEKLY) as node:
        await stored(node, *(send("ann", "bob", f"old{index}") for index in range(5)))
        world.clock.advance(8 * DAY_S)
        await stored(node, send("ann", "bob", "new"))

        async def no_laps_over_users(command: str) -> None:
            if command == "users.after":
                raise Unavailable("away")

        world.database.faults.delay = no_laps_over_users
        with pytest.raises(Unavailable):
            await node.retention.sweep()
        assert [sorted(world.database.inboxes[user]) for user in ("ann", "bob")] == [[6], [6]]


async def test_a_stream_whose_message_is_gone_is_looked_after_no_more() -> None:
    world = World()
    async with world.node(policy=WEEKLY) as node:
        await stored(node, stream("ann", "bob", "s1"))
        world.clock.advance(8 * DAY_S)
        await node.retention.sweep()
        await node.keeper.tick()
        await node.keeper.tick()
        assert node.streams.count == 0
        assert world.database.conversations["d:ann|bob"].streams == ()
