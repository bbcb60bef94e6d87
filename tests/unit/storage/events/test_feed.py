"""What is stored is told: once at least, in order, whatever dies, and without anybody waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from protos.tidings.v1 import events_pb2
from services.common.bus.contract import Record, Topic
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.clock import ManualClock
from services.common.telemetry.health import Health
from services.storage.events.debts import DebtReader
from services.storage.events.encoder import EventEncoder
from services.storage.events.feed import CHECK, EventFeed
from services.storage.events.port import FedRow
from services.storage.memory.conversation import CachedConversation
from services.storage.node import Storage
from services.storage.repository.memory import Database
from services.storage.repository.records import ConversationDocument, StoredMessage
from tests.unit.storage.nodes import (
    EVENTS,
    Neighbourhood,
    World,
    change,
    changed,
    create,
    members_of,
    post,
    quiet,
    send,
    stored,
    stored_rows,
)
from tidings_protocol.ids import ConversationKind

CHAT = "d:ann|bob"
TRACE = "00-11111111111111111111111111111111-2222222222222222-01"


def firsts(seqs: list[int]) -> list[int]:
    """Each seq where it came first."""
    return list(dict.fromkeys(seqs))


def acted(item: pb.ChangeItem, act: str) -> pb.ChangeItem:
    item.acts.append(events_pb2.Membership(act=act, by=item.actor).SerializeToString())
    return item


def join(user: str, version: int) -> pb.ChangeItem:
    return acted(change("g:1", user, f"join {user}", version, joins=[user], keep_version=True), "join")


async def known(node: Storage, conversation: str = CHAT) -> CachedConversation:
    found = (await node.conversations.get([conversation]))[conversation]
    assert isinstance(found, CachedConversation)
    return found


async def test_what_is_stored_either_way_is_told_with_its_recipients_and_its_trace_in_the_order_of_seq() -> None:
    here = World(broker=MemoryBroker())
    async with here.node() as node:
        first = send("ann", "bob", "1", "first")
        first.trace = TRACE
        await stored(node, first)
        await stored_rows(node, send("bob", "ann", "2"), send("ann", "bob", "3"))
        await stored(node, send("ann", "bob", "4"))
        await quiet(node)
        assert here.seqs(CHAT) == [1, 2, 3, 4]
        told = here.told()[0]
        assert (told.message.content.text, told.message.sender, told.cluster) == ("first", "ann", "here")
        assert (list(told.recipients), told.trace, told.time_ms) == (["ann", "bob"], TRACE, here.clock.wall_ms())
        assert (await known(node)).told == 4


async def test_how_far_is_told_is_written_behind_with_the_other_watermarks() -> None:
    here = World(broker=MemoryBroker())
    async with here.node() as node:
        await stored(node, send("ann", "bob", "1"))
        await quiet(node)
        await node.behind.flush()
        assert here.database.conversations[CHAT].told == 1


async def test_a_node_that_died_before_it_published_leaves_that_to_who_loads_the_conversation_next() -> None:
    here = World(broker=MemoryBroker())
    async with AsyncExitStack() as stack:
        dead = await here.crashed(stack)
        await stored(dead, send("ann", "bob", "1"), send("bob", "ann", "2"))
        async with here.node("two") as node:
            await stored(node, send("ann", "bob", "3"))
            await quiet(node)
            assert firsts(here.seqs(CHAT)) == [1, 2, 3]
            assert all(list(each.recipients) == ["ann", "bob"] for each in here.told())


async def test_while_kafka_is_away_sends_go_on_and_all_is_told_when_it_is_back() -> None:
    here = World(broker=(broker := MemoryBroker()))
    async with here.node() as node:
        broker.away()
        for number in range(20):
            await stored(node, send("ann", "bob", str(number)))
        assert here.seqs(CHAT) == []
        broker.back()
        await quiet(node)
        assert here.seqs(CHAT) == list(range(1, 21))


async def test_an_answer_of_kafka_that_is_lost_is_no_hole_and_repeats_keep_the_order() -> None:
    here = World(broker=(broker := MemoryBroker()))
    async with here.node() as node:
        broker.swallow(1)
        await stored(node, send("ann", "bob", "1"), send("bob", "ann", "2"))
        await quiet(node)
        assert here.seqs(CHAT) == [1, 2, 1, 2]


async def test_what_has_no_room_while_kafka_is_away_is_read_from_the_log_again() -> None:
    here = World(broker=(broker := MemoryBroker()), events_bytes_max=5000)
    async with here.node() as node:
        assert node.heartbeats is not None
        queue = node.heartbeats.queue
        broker.away()
        for number in range(30):
            await stored(node, send("ann", "bob", str(number)), send("ann", "cid", str(number)))
        assert queue.size <= 5000
        assert queue.owed == 2
        mark = queue.mark
        assert not queue.is_told(mark)
        broker.back()
        while not queue.is_told(mark):
            await asyncio.sleep(0)
            await node.heartbeats.pay_once()
        for chat in (CHAT, "d:ann|cid"):
            assert here.seqs(chat) == list(range(1, 31))
        assert all(len(each.recipients) == 2 for each in here.told())


async def test_a_change_of_a_group_is_told_as_message_and_as_act() -> None:
    here = World(broker=MemoryBroker())
    async with here.node() as node:
        await changed(node, acted(create("g:1", "ann", "bob"), "create"))
        await quiet(node)
        message, act = here.told()
        assert (message.message.seq, list(message.recipients)) == (1, ["ann", "bob"])
        assert (act.membership.act, act.membership.by, act.conversation) == ("create", "ann", "g:1")
        assert act.time_ms == message.time_ms


async def test_a_join_of_a_large_group_which_leaves_no_message_is_told() -> None:
    here = World(broker=MemoryBroker())
    async with here.node() as node:
        await changed(node, create("g:1", "ann", large=True))
        version = (await known(node, "g:1")).document.version
        await changed(node, join("bob", version))
        await changed(node, join("cid", version))
        await quiet(node)
        assert [each.membership.by for each in here.told() if each.HasField("membership")] == ["bob", "cid"]
        assert (await known(node, "g:1")).told_stamp == 3


async def test_joins_of_a_large_group_are_told_by_who_comes_after_a_crash() -> None:
    here = World(broker=MemoryBroker(), hood=Neighbourhood(lambda _: ""))
    async with AsyncExitStack() as stack:
        dead = await here.crashed(stack)
        await changed(dead, create("g:1", "ann", large=True))
        version = (await known(dead, "g:1")).document.version
        for user in ("bob", "cid"):
            await changed(dead, join(user, version))
        async with here.node("two") as node:
            await members_of(node, "g:1")
            await quiet(node)
            acts = [each.membership.by for each in here.told() if each.HasField("membership")]
            assert list(dict.fromkeys(acts)) == ["bob", "cid"]
            assert (await known(node, "g:1")).told_stamp == 3


async def test_who_was_a_member_at_the_time_is_who_an_event_from_the_log_names() -> None:
    here = World(broker=MemoryBroker())
    async with AsyncExitStack() as stack:
        dead = await here.crashed(stack)
        await changed(dead, create("g:1", "ann", "bob"))
        await stored(dead, post("g:1", "ann", "1", 1, ["ann", "bob"]))
        await changed(dead, change("g:1", "ann", "remove", 1, removed=["bob"], notices=[["ann", "bob"]]))
        await stored(dead, post("g:1", "ann", "2", 2, ["ann"]))
        async with here.node("two") as node:
            await known(node, "g:1")
            await quiet(node)
            told = {each.message.seq: list(each.recipients) for each in here.told() if each.HasField("message")}
            assert told == {1: ["ann", "bob"], 2: ["ann", "bob"], 3: ["ann", "bob"], 4: ["ann"]}


async def test_a_log_longer_than_a_page_is_told_in_order() -> None:
    here = World(broker=MemoryBroker())
    async with AsyncExitStack() as stack:
        dead = await here.crashed(stack)
        await changed(dead, create("g:1", "ann", "bob"))
        for number in range(120):
            await stored(dead, post("g:1", "ann", str(number), 1, ["ann", "bob"]))
        await changed(dead, change("g:1", "ann", "add", 1, joins=["cid"], notices=[["ann", "bob", "cid"]]))
        async with here.node("two") as node:
            await known(node, "g:1")
            await quiet(node)
            assert firsts(here.seqs("g:1")) == list(range(1, 123))
            assert all(list(each.recipients) == ["ann", "bob"] for each in here.told() if each.message.seq < 122)


async def test_without_events_nothing_is_left_to_be_told_when_they_are_put_on() -> None:
    here = World()
    async with here.node() as node:
        await stored(node, send("ann", "bob", "1"))
        await stored_rows(node, send("ann", "bob", "2"))
        assert (await known(node)).told == 2


async def test_leaving_publishes_what_waits() -> None:
    here = World(broker=MemoryBroker())
    async with here.node() as node:
        await stored(node, send("ann", "bob", "1"))
    assert here.seqs(CHAT) == [1]
    assert here.database.conversations[CHAT].told == 1


def feed_of(broker: MemoryBroker, health: Health, *, bytes_max: int = 10**9) -> EventFeed:
    broker.ensure(Topic(EVENTS, 1))
    debts, encoder = DebtReader(Database().repository(), ManualClock()), EventEncoder(EVENTS, "here")
    return EventFeed(
        MemoryBus(broker),
        encoder,
        debts,
        lambda _: None,
        health,
        ManualClock(),
        bytes_max=bytes_max,
        gather_s=0,
        retry_s=0,
    )


def row(content: bytes) -> FedRow:
    chat = CachedConversation(CHAT, ConversationKind.DIRECT, ConversationDocument(CHAT, 1), exists=True, head=1)
    return FedRow(chat, StoredMessage(CHAT, 1, "ann", "c", 1, content), ("ann", "bob"))


async def test_what_comes_while_a_batch_is_told_gathers_for_the_next() -> None:
    broker = MemoryBroker()
    published: list[int] = []

    class Counting(MemoryBus):
        async def publish(self, records: Sequence[Record]) -> None:
            published.append(len(records))
            await asyncio.sleep(0)
            await super().publish(records)

    feed = feed_of(broker, Health())
    feed._bus = Counting(broker)
    chat = row(b"").conversation
    chat.head = 0
    async with feed:
        for seq in range(1, 101):
            chat.head = seq
            feed.stored([FedRow(chat, StoredMessage(CHAT, seq, "ann", "c", 1, b""), ())])
            if seq % 10 == 0:
                await asyncio.sleep(0)
    assert sum(published) == 100
    assert len(published) <= 10


async def test_the_node_is_degraded_while_kafka_is_away_and_ready_all_the_same() -> None:
    broker, health = MemoryBroker(), Health()
    health.started()
    broker.away()
    async with feed_of(broker, health) as feed:
        feed.stored([row(b"x")])
        while CHECK not in health.degraded:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert health.ready
        broker.back()
        while len(feed.queue):  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert not health.degraded


async def test_an_event_that_is_too_large_for_kafka_is_left_out_and_holds_nothing_up() -> None:
    broker = MemoryBroker()
    large, small = row(b"x" * 17 * 1024 * 1024), row(b"x")
    async with feed_of(broker, Health()) as feed:
        feed.stored([large, small])
        while len(feed.queue):  # noqa: ASYNC110
            await asyncio.sleep(0)
    [partition] = broker.topic(EVENTS)
    assert len(partition.records) == 1
    assert large.conversation.told == small.conversation.told == 1


@pytest.mark.parametrize("refused", [1, 3])
async def test_a_database_that_does_not_answer_delays_what_is_read_from_it(refused: int) -> None:
    here = World(broker=MemoryBroker())
    async with AsyncExitStack() as stack:
        dead = await here.crashed(stack)
        await stored(dead, send("ann", "bob", "1"))
        async with here.node("two") as node:
            await known(node)
            here.database.faults.refuse(refused)
            await quiet(node)
            assert set(here.seqs(CHAT)) == {1}
