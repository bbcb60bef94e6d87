"""Pages of history, inboxes and members; heads."""

from __future__ import annotations

from typing import Any

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.pages.reader import HEADS_AT_ONCE, member_record
from services.storage.repository.records import MemberDocument
from tests.unit.storage.nodes import World, changed, content_of, create, send, stored
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import message_id

CHAT = "d:ann|bob"


def seqs(page: pb.PageOutcome) -> list[int]:
    return [client_pb2.Message.FromString(entry.message).seq for entry in page.entries]


async def history(node: Storage, conversation: str = CHAT, **fields: Any) -> pb.PageOutcome:
    (page,) = await node.pages.history([pb.HistoryItem(conversation=conversation, **fields)])
    return page


async def test_history_gives_the_newest_if_nothing_is_asked() -> None:
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}", str(index)) for index in range(10)))
        page = await history(node, limit=3)
        assert (seqs(page), page.head, page.more, page.next, page.truncated) == ([8, 9, 10], 10, True, 8, False)
        message = client_pb2.Message.FromString(page.entries[-1].message)
        assert (message.message_id, message.conversation, message.sender) == (message_id(CHAT, 10), CHAT, "ann")
        assert (message.client_id, message.kind, message.content.text) == ("c9", client_pb2.Message.NORMAL, "9")


async def test_history_goes_both_ways_without_the_number_given() -> None:
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(10)))
        before = await history(node, limit=3, before=4)
        assert (seqs(before), before.more, before.next) == ([1, 2, 3], False, 1)
        after = await history(node, limit=3, after=8)
        assert (seqs(after), after.more, after.next) == ([9, 10], False, 10)
        first = await history(node, limit=3, after=0)
        assert (seqs(first), first.more, first.next) == ([1, 2, 3], True, 3)
        none = await history(node, limit=3, after=10)
        assert (seqs(none), none.more, none.next) == ([], False, 10)


async def test_history_begins_where_the_member_may_read() -> None:
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(6)))
        assert seqs(await history(node, limit=10, first_seq=5)) == [5, 6]
        assert seqs(await history(node, limit=10, first_seq=5, after=0)) == [5, 6]
        assert not (await history(node, limit=2, first_seq=5)).more


async def test_a_page_holds_as_many_bytes_as_asked_and_at_least_one_entry() -> None:
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}", "x" * 1000) for index in range(5)))
        page = await history(node, limit=5, bytes_max=2500)
        assert (seqs(page), page.more) == ([4, 5], True)
        page = await history(node, limit=5, bytes_max=1, after=0)
        assert (seqs(page), page.more, page.next) == ([1], True, 1)


async def test_the_history_of_a_chat_without_messages_is_empty() -> None:
    async with World().node() as node:
        page = await history(node, "d:no|one", limit=5)
        assert (seqs(page), page.head, page.more, page.fault.code) == ([], 0, False, "")


async def test_a_conversation_that_cannot_be_loaded_does_not_spoil_other_pages() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "x"))
        bad, good = await node.pages.history([pb.HistoryItem(conversation="?"), pb.HistoryItem(conversation=CHAT)])
        assert (bad.fault.code, seqs(good)) == ("BAD_REQUEST", [1])


async def test_an_inbox_is_paged_from_a_number_on() -> None:
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(5)))
        (page,) = await node.pages.inbox([pb.InboxItem(user="bob", after=1, limit=2)])
        assert [entry.number for entry in page.entries] == [2, 3]
        assert (page.head, page.more, page.next, page.truncated) == (5, True, 3, False)
        (last,) = await node.pages.inbox([pb.InboxItem(user="bob", after=3, limit=2)])
        assert (len(last.entries), last.more, last.next) == (2, False, 5)
        (none,) = await node.pages.inbox([pb.InboxItem(user="nobody", limit=2)])
        assert (len(none.entries), none.head, none.more) == (0, 0, False)


async def test_an_inbox_page_is_cut_by_its_bytes() -> None:
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}", "x" * 1000) for index in range(5)))
        (page,) = await node.pages.inbox([pb.InboxItem(user="bob", limit=5, bytes_max=2500)])
        assert ([entry.number for entry in page.entries], page.more, page.next) == ([1, 2], True, 2)


async def test_large_messages_come_whole_between_small_ones() -> None:
    texts = ["x" * size for size in (1, 40_000, 5, 3000, 200_000, 2)]
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}", text) for index, text in enumerate(texts)))
        shown: list[str] = []
        after, more = 0, True
        while more:
            page = await history(node, after=after, limit=100)
            shown += [client_pb2.Message.FromString(entry.message).content.text for entry in page.entries]
            after, more = page.next, page.more
        assert shown == texts
        synced: list[str] = []
        after, more = 0, True
        while more:
            (page,) = await node.pages.inbox([pb.InboxItem(user="bob", after=after, limit=100)])
            synced += [client_pb2.Message.FromString(entry.message).content.text for entry in page.entries]
            after, more = page.next, page.more
        assert synced == texts


async def test_for_a_page_hardly_more_is_read_than_it_holds() -> None:
    world = World()
    async with world.node() as node:
        for index in range(100):
            await stored(node, send("ann", "bob", f"c{index}", "x" * 32_000))
        before = world.database.content_read
        page = await history(node, limit=100)
        (inbox,) = await node.pages.inbox([pb.InboxItem(user="bob", limit=100)])
        assert (len(page.entries), len(inbox.entries)) == (4, 4)
        assert world.database.content_read - before <= 2 * 5 * 33_000


async def test_heads_are_zero_where_nothing_is() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "x"))
        heads = await node.pages.conversation_heads([CHAT, "g:none"], warm_only=False)
        assert list(heads.heads) == [1, 0]
        assert list((await node.pages.inbox_heads(["ann", "zoe"])).heads) == [1, 0]


async def test_members_are_paged_by_user_whether_the_group_is_large_or_not() -> None:
    async with World().node() as node:
        for group, large in (("g:1", False), ("g:2", True)):
            await changed(node, create(group, "cid", "ann", "bob", large=large))
            (page,) = await node.pages.members([pb.MembersItem(conversation=group, limit=2)])
            assert ([member.user for member in page.members], page.more) == (["ann", "bob"], True)
            (page,) = await node.pages.members([pb.MembersItem(conversation=group, limit=2, after="bob")])
            assert ([(m.user, m.role) for m in page.members], page.more) == ([("cid", 3)], False)


async def listed(node: Storage, user: str, **fields: object) -> pb.ConversationsOutcome:
    (outcome,) = await node.lists.pages([pb.ConversationsItem(user=user, **fields)])  # type: ignore[arg-type]
    return outcome


async def test_heads_that_cannot_be_read_are_an_error() -> None:
    world = World()
    async with world.node() as node:
        world.database.faults.away = True
        with pytest.raises(Unavailable):
            await node.pages.conversation_heads([CHAT], warm_only=False)
        with pytest.raises(Unavailable):
            await node.pages.inbox_heads(["ann"])
        world.database.faults.away = False


async def test_content_comes_back_as_it_was_given() -> None:
    content = client_pb2.Content(data=b"\0\x01", mime="x/y", headers={"a": "b"}, reply_to=0)
    async with World().node() as node:
        item = send("ann", "bob", "x")
        item.content = content.SerializeToString()
        await stored(node, item)
        message = client_pb2.Message.FromString((await history(node)).entries[0].message)
        assert message.content == content
        assert content_of("hello") != item.content


async def test_thousands_of_large_groups_do_not_fill_the_lanes() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, lane_capacity=20, batch_max=10))
    async with world.node() as node:
        groups = [f"g:{index}" for index in range(100)]
        for group in groups:
            await changed(node, create(group, "ann", large=True))
        await node.behind.flush()
        node.conversations.memory.drop_slots(frozenset(range(4096)))
        assert len((await node.lists.large_groups_of(["ann"]))["ann"]) == 100
        assert len((await listed(node, "ann", large_only=True)).entries) == 100


async def test_an_inbox_that_cannot_be_had_is_left_out_of_its_batch_alone() -> None:
    # Room in memory for one inbox: of a batch, only the last one is there when all have been read.
    world = World(limits=Limits(flush_interval_s=1e6, cached_entries_max=1, read_lanes=1))
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        node.inboxes.drop_slots(frozenset(range(4096)))
        pages = await node.pages.inbox([pb.InboxItem(user="ann"), pb.InboxItem(user="bob")])
        assert sorted((page.fault.code, len(page.entries)) for page in pages) == [("", 1), ("UNAVAILABLE", 0)]
        node.inboxes.drop_slots(frozenset(range(4096)))
        items = [pb.AcknowledgeItem(user=user, device="phone", number=1) for user in ("ann", "bob")]
        outcomes = await node.acknowledgements.acknowledge(items)
        assert sorted((outcome.fault.code, len(outcome.delivered)) for outcome in outcomes) == [
            ("", 1),
            ("UNAVAILABLE", 0),
        ]


async def test_the_heads_of_more_conversations_than_are_loaded_at_once_are_aligned() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "u3", "x"), send("ann", f"u{HEADS_AT_ONCE}", "x"))
        keys = [f"d:ann|u{number}" for number in range(HEADS_AT_ONCE + 1)]
        heads = await node.pages.conversation_heads(keys, warm_only=False)
        assert [index for index, head in enumerate(heads.heads) if head] == [3, HEADS_AT_ONCE]


def test_a_member_is_told_as_it_is_written() -> None:
    record = member_record(MemberDocument("g:1", "ann", role=3, joined_seq=2, joined_ms=9, read_seq=5, delivered_seq=6))
    assert record == pb.MemberRecord(user="ann", role=3, joined_seq=2, joined_ms=9, read_seq=5, delivered_seq=6)
