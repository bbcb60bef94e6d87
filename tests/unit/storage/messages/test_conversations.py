"""A node's memory of conversations, and the lanes that write to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.limits import Limits
from services.storage.messages.conversations import ConversationStore
from services.storage.repository.contract import Inserted
from services.storage.repository.memory import Faults
from services.storage.repository.records import StoredMessage
from tests.unit.storage.nodes import (
    NO_CONTEXT,
    World,
    change,
    changed,
    content_of,
    create,
    inbox_of,
    post,
    send,
    stored,
)
from tidings_protocol.errors import BadRequest, Internal, Overloaded, TidingsError, Unavailable
from tidings_protocol.ids import slot_of

Outcome = pb.StoreOutcome
CHAT = "d:ann|bob"
BAD = content_of("bad")


async def test_an_id_that_is_none_harms_only_its_own_item() -> None:
    async with World().node() as node:
        good, bad = await node.conversations.store([send("ann", "bob", "x"), pb.StoreItem(conversation="nonsense")])
        assert isinstance(good, Outcome)
        assert isinstance(bad, BadRequest)


async def test_what_cannot_be_done_at_all_is_left_to_the_next_node() -> None:
    world = World()
    faults = Faults()
    async with world.node("one") as one, world.node("two", faults=faults):
        await stored(one, send("ann", "bob", "a"))
        faults.away = True
        two = world.hood.nodes["two"]
        with pytest.raises(Unavailable):
            await two.Store(pb.StoreBatch(items=[send("ann", "bob", "b")]), NO_CONTEXT)
        with pytest.raises(Unavailable):
            await two.Append(pb.AppendBatch(items=[pb.AppendItem(user="bob", conversation=CHAT, seq=1)]), NO_CONTEXT)
        with pytest.raises(Unavailable):
            await two.Load(pb.LoadBatch(items=[pb.LoadItem(conversation=CHAT)]), NO_CONTEXT)


async def test_a_change_of_the_ring_makes_a_node_read_again() -> None:
    world = World()
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "a"))
        world.hood.unreachable.add("one")
        await stored(two, send("ann", "bob", "b"))
        (stale,) = await one.loads.load([pb.LoadItem(conversation=CHAT)])
        assert stale.record.head == 1
        one.ring_changed(frozenset({slot_of(CHAT)}))
        (fresh,) = await one.loads.load([pb.LoadItem(conversation=CHAT)])
        assert fresh.record.head == 2


async def test_a_node_does_not_trust_its_memory_of_what_another_one_owns() -> None:
    world = World()
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "a"))
        world.hood.owner_of = lambda _: "two"
        await stored(two, send("ann", "bob", "b"))
        heads = await one.pages.conversation_heads([CHAT], warm_only=False)
        assert list(heads.heads) == [2]
        assert list((await one.pages.inbox_heads(["bob"])).heads) == [2]


async def test_a_full_lane_refuses_at_once() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, lane_capacity=2))
    async with world.node() as node:
        outcomes = await node.conversations.store([send("ann", "bob", f"c{index}") for index in range(4)])
        assert [isinstance(outcome, Overloaded) for outcome in outcomes] == [False, False, True, True]


async def test_more_conversations_than_fit_into_memory_stay_right() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, cached_members_max=600, cached_entries_max=1200))
    async with world.node() as node:
        users = [f"user{index}" for index in range(300)]
        for _ in range(2):
            for start in range(0, 300, 50):
                await stored(
                    node, *(send(user, "bob", f"c{world.clock.now_s()}") for user in users[start : start + 50])
                )
            world.clock.advance(1)
        assert node.conversations.cached <= 126
        heads = await node.pages.conversation_heads([f"d:bob|{user}" for user in users], warm_only=False)
        assert set(heads.heads) == {2}
        assert list((await node.pages.inbox_heads(["bob"])).heads) == [600]


async def test_a_message_after_a_change_in_the_same_batch_is_decided_on_what_the_change_made() -> None:
    world = World(limits=Limits(flush_interval_s=1e6))
    async with world.node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        rename = change("g:1", "ann", "op", 1, notices=[["ann", "bob"]], name="others")
        before, made, late, after = await asyncio.gather(
            stored(node, post("g:1", "bob", "x", 1, ["ann"])),
            changed(node, rename),
            stored(node, post("g:1", "bob", "y", 1, ["ann"])),
            stored(node, post("g:1", "bob", "z", 2, ["ann"])),
        )
        assert before[0].seq == 2
        assert made.notices[0].seq == 3
        assert late[0].status == Outcome.STALE
        assert after[0].seq == 4


async def test_a_node_that_is_cut_off_does_not_harm_the_one_that_took_over() -> None:
    world = World()
    cut = Faults()
    async with world.node("one", faults=cut) as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "a"))
        cut.away = True
        (refused,) = await one.conversations.store([send("ann", "bob", "b")])
        assert isinstance(refused, Unavailable)
        await stored(two, send("ann", "bob", "c"))
        cut.away = False
        assert [outcome.seq for outcome in await stored(one, send("ann", "bob", "b"))] == [3]
        assert [seq for _, _, seq in await inbox_of(two, "bob")] == [1, 2, 3]


async def test_a_message_that_cannot_be_written_is_refused_alone_and_leaves_no_hole() -> None:
    async with World().node() as node:
        messages = node.conversations._repository.messages
        insert = messages.insert

        async def choosy(documents: Sequence[StoredMessage]) -> Inserted:
            if any(document.content == BAD for document in documents):
                raise OverflowError("BSON can only handle up to 8-byte ints")
            return await insert(documents)

        messages.insert = choosy  # type: ignore[method-assign,assignment]
        texts = ["1", "bad", "2", "3"]
        items = [
            *(send("ann", "bob", text, text) for text in texts),
            send("cid", "dan", "x", "x"),
            *(send("ann", "bob", text, text) for text in ("4", "5")),
            send("eve", "bob", "y", "y"),
        ]
        outcomes = await node.conversations.store(items)
        shown = [each.code if isinstance(each, TidingsError) else each.seq for each in outcomes]
        assert shown == [1, Internal.code, 2, 3, 1, 4, 5, 1]
        assert all(each.status == pb.StoreOutcome.STORED for each in outcomes if not isinstance(each, TidingsError))
        again = await node.conversations.store([items[0], items[4]])
        assert [(each.status, each.seq) for each in again if not isinstance(each, TidingsError)] == [
            (pb.StoreOutcome.DUPLICATE, 1)
        ] * 2
        page = (await node.pages.inbox([pb.InboxItem(user="bob")]))[0]
        assert [entry.number for entry in page.entries] == list(range(1, 7))


async def test_a_defect_in_a_round_leaves_nothing_of_its_conversations_in_memory() -> None:
    async with World().node() as node:
        store: ConversationStore = node.conversations
        await stored(node, send("ann", "bob", "a"), send("ann", "cid", "a"))
        assert store.cached == 2

        async def break_down(appends: Sequence[object]) -> list[int]:
            raise ZeroDivisionError

        store._fanout.append, append = break_down, store._fanout.append  # type: ignore[method-assign,assignment]
        (refused,) = await store.store([send("ann", "bob", "b")])
        assert isinstance(refused, Internal)
        assert (store.memory.peek("d:ann|bob"), store.cached) == (None, 1)
        store._fanout.append = append  # type: ignore[method-assign]
        assert [outcome.seq for outcome in await stored(node, send("ann", "bob", "b"))] == [2]


async def test_what_is_marked_while_another_writer_is_found_out_is_not_lost() -> None:
    """ann marks while the round reads what another node has written: what is loaded does not know of it yet."""
    world = World()
    world.hood.owner_of = lambda _: ""
    chat = "d:ann|bob"
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("bob", "ann", "a"))
        await stored(two, send("bob", "ann", "b"))

        async def mark_meanwhile(command: str) -> None:
            if command == "inbox.insert":
                world.database.faults.delay = None
                await one.cursors.mark([pb.MarkItem(conversation=chat, user="ann", read_seq=1)])

        world.database.faults.delay = mark_meanwhile
        await stored(one, send("bob", "ann", "c"))
        loaded = one.conversations.memory.peek(chat)
        assert loaded is not None
        assert (loaded.head, loaded.members["ann"].read_seq) == (3, 1)
