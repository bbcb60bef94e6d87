"""Marks, pages, lists and acknowledgements."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.limits import Limits
from services.storage.memory.conversation import Conversation
from services.storage.node import Storage
from services.storage.repository.records import InboxEntry
from tests.unit.storage.nodes import World, change, changed, content_of, create, post, send, stored
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import message_id, slot_of

CHAT = "d:ann|bob"


async def mark(node: Storage, user: str, read: int = 0, delivered: int = 0, *, durable: bool = False) -> pb.MarkOutcome:
    item = pb.MarkItem(conversation=CHAT, user=user, read_seq=read, delivered_seq=delivered, durable=durable)
    (outcome,) = await node.marking.mark([item])
    return outcome


def seqs(page: pb.PageOutcome) -> list[int]:
    return [client_pb2.Message.FromString(entry.message).seq for entry in page.entries]


async def history(node: Storage, conversation: str = CHAT, **fields: int) -> pb.PageOutcome:
    (page,) = await node.reading.history([pb.HistoryItem(conversation=conversation, **fields)])
    return page


# ---- marks


async def test_a_mark_moves_up_and_what_is_read_is_delivered() -> None:
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(5)))
        first = await mark(node, "bob", read=3)
        assert (first.read_seq, first.delivered_seq, first.moved) == (3, 3, True)
        back = await mark(node, "bob", read=2)
        assert (back.read_seq, back.delivered_seq, back.moved) == (3, 3, False)
        delivered = await mark(node, "bob", delivered=5)
        assert (delivered.read_seq, delivered.delivered_seq, delivered.moved) == (3, 5, True)


async def test_a_mark_does_not_go_beyond_the_head() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "x"))
        outcome = await mark(node, "bob", read=99)
        assert (outcome.read_seq, outcome.delivered_seq) == (1, 1)


async def test_a_durable_mark_is_written_when_it_is_answered_and_another_one_behind() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"), send("ann", "bob", "y"))
        await mark(node, "bob", delivered=2)
        assert world.database.members[CHAT]["bob"].delivered_seq == 0
        await mark(node, "bob", read=1, durable=True)
        assert world.database.members[CHAT]["bob"].read_seq == 1
        await node.behind.flush()
        assert world.database.members[CHAT]["bob"].delivered_seq == 2


async def test_a_durable_mark_that_cannot_be_written_says_so() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"))
        world.database.faults.away = True
        outcome = await mark(node, "bob", read=1, durable=True)
        assert outcome.fault.code == "UNAVAILABLE"
        world.database.faults.away = False


async def test_sending_moves_the_senders_own_position_also_after_a_crash() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"))
        world.database.faults.away = True
    world.database.faults.away = False
    assert world.database.members[CHAT]["ann"].read_seq == 0
    async with world.node() as node:
        (loaded,) = await node.listing.load([pb.LoadItem(conversation=CHAT)])
        assert {member.user: member.read_seq for member in loaded.members} == {"ann": 1, "bob": 0}


async def test_who_is_no_member_of_a_group_may_not_mark_it() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann"))
        await changed(node, create("g:2", "ann", large=True))
        items = [pb.MarkItem(conversation=key, user="zoe", read_seq=1) for key in ("g:1", "g:2", "g:3", CHAT)]
        outcomes = await node.marking.mark(items)
        assert [outcome.fault.code for outcome in outcomes] == ["FORBIDDEN", "FORBIDDEN", "NOT_FOUND", ""]


async def test_a_mark_says_the_version_of_its_group() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", large=True))
        (outcome,) = await node.marking.mark([pb.MarkItem(conversation="g:1", user="ann", read_seq=1)])
        assert (outcome.version, outcome.large_from) == (1, 1)


async def test_everybody_has_a_position_in_the_notices_to_all() -> None:
    async with World().node() as node:
        await stored(node, pb.StoreItem(conversation="b:all", sender="tidings", client_id="n", kind=2))
        (outcome,) = await node.marking.mark([pb.MarkItem(conversation="b:all", user="ann", read_seq=1, durable=True)])
        assert (outcome.read_seq, outcome.moved) == (1, True)


# ---- history


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
        bad, good = await node.reading.history([pb.HistoryItem(conversation="?"), pb.HistoryItem(conversation=CHAT)])
        assert (bad.fault.code, seqs(good)) == ("BAD_REQUEST", [1])


# ---- inboxes


async def test_an_inbox_is_paged_from_a_number_on() -> None:
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(5)))
        (page,) = await node.reading.inbox([pb.InboxItem(user="bob", after=1, limit=2)])
        assert [entry.number for entry in page.entries] == [2, 3]
        assert (page.head, page.more, page.next, page.truncated) == (5, True, 3, False)
        (last,) = await node.reading.inbox([pb.InboxItem(user="bob", after=3, limit=2)])
        assert (len(last.entries), last.more, last.next) == (2, False, 5)
        (none,) = await node.reading.inbox([pb.InboxItem(user="nobody", limit=2)])
        assert (len(none.entries), none.head, none.more) == (0, 0, False)


async def test_an_inbox_page_is_cut_by_its_bytes() -> None:
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}", "x" * 1000) for index in range(5)))
        (page,) = await node.reading.inbox([pb.InboxItem(user="bob", limit=5, bytes_max=2500)])
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
            (page,) = await node.reading.inbox([pb.InboxItem(user="bob", after=after, limit=100)])
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
        (inbox,) = await node.reading.inbox([pb.InboxItem(user="bob", limit=100)])
        assert (len(page.entries), len(inbox.entries)) == (4, 4)
        assert world.database.content_read - before <= 2 * 5 * 33_000


# ---- heads


async def test_heads_are_zero_where_nothing_is() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "x"))
        heads = await node.reading.conversation_heads([CHAT, "g:none"], warm_only=False)
        assert list(heads.heads) == [1, 0]
        assert list((await node.reading.inbox_heads(["ann", "zoe"])).heads) == [1, 0]


# ---- members


async def test_members_are_paged_by_user_whether_the_group_is_large_or_not() -> None:
    async with World().node() as node:
        for group, large in (("g:1", False), ("g:2", True)):
            await changed(node, create(group, "cid", "ann", "bob", large=large))
            (page,) = await node.reading.members([pb.MembersItem(conversation=group, limit=2)])
            assert ([member.user for member in page.members], page.more) == (["ann", "bob"], True)
            (page,) = await node.reading.members([pb.MembersItem(conversation=group, limit=2, after="bob")])
            assert ([(m.user, m.role) for m in page.members], page.more) == ([("cid", 3)], False)


# ---- acknowledgements


async def acknowledge(node: Storage, device: str, number: int) -> dict[str, int]:
    """As logic does it: until all is marked and noted."""
    news: dict[str, int] = {}
    item = pb.AcknowledgeItem(user="bob", device=device, number=number)
    while True:
        (outcome,) = await node.acknowledging.acknowledge([item])
        news.update({each.conversation: each.seq for each in outcome.delivered})
        if not outcome.upto:
            return news
        assert outcome.upto > item.marked
        item.marked = outcome.upto


async def test_an_acknowledgement_delivers_what_no_device_held_before() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, inbox_tail=8))
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(20)))
        await stored(node, send("cid", "bob", "x"))
        assert await acknowledge(node, "phone", 3) == {CHAT: 3}
        assert await acknowledge(node, "web", 2) == {}
        assert await acknowledge(node, "web", 5) == {CHAT: 5}
        assert await acknowledge(node, "phone", 999) == {CHAT: 20, "d:bob|cid": 1}
        assert await acknowledge(node, "phone", 999) == {}
    assert world.database.devices["bob"] == {"phone": 21, "web": 5}
    async with world.node() as node:
        assert await acknowledge(node, "tv", 21) == {}


async def test_one_acknowledgement_of_thousands_of_entries_delivers_every_conversation_in_steps() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        inbox = world.database.inboxes["bob"]
        for number in range(2, 5003):
            inbox[number] = InboxEntry("bob", number, "d:bob|dan", number - 1, 1)
        node.inboxes.drop_slots(frozenset([slot_of("bob")]))
        (first,) = await node.acknowledging.acknowledge([pb.AcknowledgeItem(user="bob", device="tv", number=5002)])
        assert (first.upto, [each.seq for each in first.delivered]) == (2000, [1, 1999])
        assert await acknowledge(node, "tv", 5002) == {CHAT: 1, "d:bob|dan": 5001}
        assert await acknowledge(node, "tv", 5002) == {}


async def test_what_could_not_be_marked_is_told_again_until_it_is() -> None:
    """The number is noted only then, whatever happens to the one who had to see to it."""
    world = World(limits=Limits(flush_interval_s=1e6, inbox_tail=8))
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(3)))
        item = pb.AcknowledgeItem(user="bob", device="phone", number=2)
        for _ in range(2):
            (outcome,) = await node.acknowledging.acknowledge([item])
            assert (outcome.upto, [each.seq for each in outcome.delivered]) == (2, [2])
        item.number = 3
        (outcome,) = await node.acknowledging.acknowledge([item])
        assert (outcome.upto, [each.seq for each in outcome.delivered]) == (3, [3])
        item.marked = 3
        (outcome,) = await node.acknowledging.acknowledge([item])
        assert (outcome.upto, list(outcome.delivered)) == (0, [])
    assert world.database.devices["bob"] == {"phone": 3}


async def marked(node: Storage, number: int) -> list[pb.AcknowledgeOutcome.Delivered]:
    item = pb.AcknowledgeItem(user="bob", device="phone", number=number)
    (outcome,) = await node.acknowledging.acknowledge([item], mark=True)
    return list(outcome.delivered)


@pytest.mark.parametrize("cold", [False, True])
async def test_an_acknowledgement_marks_what_its_node_owns_and_tells_what_moved(cold: bool) -> None:
    world = World()
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(3)))
        if cold:
            node.conversations.drop_slots(frozenset([slot_of(CHAT)]))
        (news,) = await marked(node, 2)
        assert (news.conversation, news.seq) == (CHAT, 2)
        assert (news.mark.moved, news.mark.delivered_seq, news.mark.read_seq) == (True, 2, 0)
        assert not (await mark(node, "bob", delivered=2)).moved
        await mark(node, "bob", delivered=3)
        assert await marked(node, 3) == [], "it is news of the inbox, but moved nothing"
        await stored(node, send("bob", "ann", "mine"))
        assert await marked(node, 4) == [], "what one sent oneself was there before"


async def test_what_another_node_owns_is_told_and_not_marked() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of(CHAT) else "one"
    async with world.node("one") as one, world.node("two") as two:
        await stored(two, send("ann", "bob", "a"))
        await stored(one, send("cid", "bob", "b"))
        mine, theirs = sorted(await marked(one, 2), key=lambda news: news.conversation == CHAT)
        assert (mine.conversation, mine.mark.moved) == ("d:bob|cid", True)
        assert (theirs.conversation, theirs.seq, theirs.HasField("mark")) == (CHAT, 1, False)
        assert (await mark(two, "bob", delivered=1)).moved


async def test_what_could_not_be_marked_along_is_left_to_whoever_asked() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        node.conversations.drop_slots(frozenset([slot_of(CHAT)]))

        async def no_conversations(command: str) -> None:
            if command.startswith("conversation"):
                raise Unavailable("away")

        world.database.faults.delay = no_conversations
        (news,) = await marked(node, 1)
        assert (news.conversation, news.seq, news.HasField("mark")) == (CHAT, 1, False)
        world.database.faults.delay = None
        assert (await mark(node, "bob", delivered=1)).moved


# ---- lists


async def listed(node: Storage, user: str, **fields: object) -> pb.ConversationsOutcome:
    (outcome,) = await node.listing.pages([pb.ConversationsItem(user=user, **fields)])  # type: ignore[arg-type]
    return outcome


async def test_conversations_come_newest_first_with_their_last_message_and_cursors() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        world.clock.advance(1)
        await changed(node, create("g:1", "ann", "cid"))
        world.clock.advance(1)
        await mark(node, "bob", delivered=1)
        await stored(node, send("bob", "ann", "b", "newest"))
        outcome = await listed(node, "ann")
        chat, group = outcome.entries
        assert (chat.record.conversation, chat.record.head, chat.me.read_seq) == (CHAT, 2, 1)
        assert (chat.peer.user, chat.peer.read_seq, chat.peer.delivered_seq) == ("bob", 2, 2)
        assert client_pb2.Message.FromString(chat.last).content.text == "newest"
        assert (group.record.conversation, group.record.name, group.me.role) == ("g:1", "friends", 3)
        assert not outcome.more


async def test_conversations_are_paged_without_gap_or_repeat() -> None:
    world = World()
    async with world.node() as node:
        for index in range(7):
            await stored(node, send("ann", f"peer{index}", "x"))
            if index % 2:
                world.clock.advance(1)
        seen: list[str] = []
        after, more = "", True
        while more:
            page = await listed(node, "ann", limit=3, after=after)
            seen += [entry.peer.user for entry in page.entries]
            after, more = page.next, page.more
        assert sorted(seen) == [f"peer{index}" for index in range(7)]
        assert seen[0] == "peer6"


async def test_a_page_of_conversations_is_cut_by_its_bytes() -> None:
    async with World().node() as node:
        for index in range(3):
            await stored(node, send("ann", f"peer{index}", "x", "y" * 1000))
        page = await listed(node, "ann", bytes_max=2500)
        assert (len(page.entries), page.more) == (2, True)
        rest = await listed(node, "ann", bytes_max=2500, after=page.next)
        assert (len(rest.entries), rest.more) == (1, False)


async def test_a_cursor_that_is_none_is_refused() -> None:
    async with World().node() as node:
        assert (await listed(node, "ann", after="nonsense")).fault.code == "BAD_REQUEST"


async def test_the_last_message_is_not_shown_to_who_joined_after_it() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", large=True))
        await changed(node, change("g:1", "cid", "join", 1, joins=["cid"], keep_version=True))
        (entry,) = (await listed(node, "cid")).entries
        assert (entry.last, entry.me.joined_seq) == (b"", 2)
        await stored(node, post("g:1", "ann", "x", 1))
        (entry,) = (await listed(node, "cid")).entries
        assert client_pb2.Message.FromString(entry.last).content.text == "hello"


async def test_what_other_owners_have_in_memory_is_fresh_in_a_list() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of(CHAT) else "one"
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "cid", "x"))
        world.clock.advance(1)
        await stored(two, send("bob", "ann", "a"), send("bob", "ann", "b"))
        first, second = (await listed(one, "ann")).entries
        assert (first.record.conversation, first.record.head, first.peer.read_seq) == (CHAT, 2, 2)
        assert second.record.conversation == "d:ann|cid"
        world.hood.unreachable.add("two")
        heads = {entry.record.conversation: entry.record.head for entry in (await listed(one, "ann")).entries}
        assert heads == {CHAT: 2, "d:ann|cid": 1}


async def test_only_large_groups_if_that_is_asked() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann"))
        await changed(node, create("g:2", "ann", large=True))
        outcome = await listed(node, "ann", large_only=True)
        assert [(entry.record.conversation, entry.last) for entry in outcome.entries] == [("g:2", b"")]


async def test_a_list_says_that_it_cannot_be_had() -> None:
    world = World()
    async with world.node() as node:
        world.database.faults.away = True
        assert (await listed(node, "ann")).fault.code == "UNAVAILABLE"
        world.database.faults.away = False


async def test_heads_that_cannot_be_read_are_an_error() -> None:
    world = World()
    async with world.node() as node:
        world.database.faults.away = True
        with pytest.raises(Unavailable):
            await node.reading.conversation_heads([CHAT], warm_only=False)
        with pytest.raises(Unavailable):
            await node.reading.inbox_heads(["ann"])
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


# ---- one that cannot be loaded


async def world_with_a_broken_group(node: Storage, world: World) -> None:
    """ann is in three large groups; one of them cannot be loaded."""
    for group in ("g:1", "g:2", "g:3"):
        await changed(node, create(group, "ann", large=True))
        world.clock.advance(1)
    await node.behind.flush()
    node.conversations.drop_slots(frozenset(range(4096)))
    loaded = node.conversations.loader.load

    async def load(ids: Collection[str]) -> dict[str, Conversation | TidingsError]:
        found = await loaded(ids)
        return {key: Unavailable("its tail cannot be settled", 1000) if key == "g:2" else found[key] for key in ids}

    node.conversations.loader.load = load  # type: ignore[method-assign]


async def test_a_conversation_that_cannot_be_loaded_is_left_out_of_lists_and_heads() -> None:
    world = World()
    async with world.node() as node:
        await world_with_a_broken_group(node, world)
        assert [entry.record.conversation for entry in (await listed(node, "ann")).entries] == ["g:3", "g:1"]
        heads = await node.reading.conversation_heads(["g:1", "g:2", "g:3"], warm_only=False)
        assert list(heads.heads) == [1, 0, 1]
        only = await listed(node, "ann", large_only=True)
        assert sorted(entry.record.conversation for entry in only.entries) == ["g:1", "g:2", "g:3"]


async def test_large_groups_are_told_to_who_logs_in_though_one_cannot_be_loaded() -> None:
    world = World()
    async with world.node() as node:
        await world_with_a_broken_group(node, world)
        found = await node.listing.large_of(["ann", "bob"])
        assert sorted((record.conversation, record.head) for record in found["ann"]) == [
            ("g:1", 1),
            ("g:2", 1),
            ("g:3", 1),
        ]
        assert node.conversations.peek("g:1") is None, "nothing was loaded for that"


async def test_a_large_group_whose_head_nobody_knows_is_told_to_its_members_all_the_same() -> None:
    world = World(limits=Limits(flush_interval_s=1e6))
    async with world.node() as node:
        await changed(node, create("g:1", "ann", "bob", large=True))
        # Its owner forgets it before the head is written: MongoDB was away.
        node.conversations.drop_slots(frozenset(range(4096)))
        assert world.database.conversations["g:1"].head == 0
        found = await node.listing.large_of(["ann", "bob"])
        assert [[record.conversation for record in found[user]] for user in ("ann", "bob")] == [["g:1"], ["g:1"]]


async def test_thousands_of_large_groups_do_not_fill_the_lanes() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, lane_capacity=20, store_lanes=1, batch_max=10))
    async with world.node() as node:
        groups = [f"g:{index}" for index in range(100)]
        for group in groups:
            await changed(node, create(group, "ann", large=True))
        await node.behind.flush()
        node.conversations.drop_slots(frozenset(range(4096)))
        assert len((await node.listing.large_of(["ann"]))["ann"]) == 100
        assert len((await listed(node, "ann", large_only=True)).entries) == 100


async def test_the_heads_of_large_groups_are_those_in_their_owners_memory() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of("g:1") else "one"
    async with world.node("one") as one, world.node("two") as two:
        await changed(two, create("g:1", "ann", large=True))
        await two.behind.flush()
        await stored(two, post("g:1", "ann", "x", 1), post("g:1", "ann", "y", 1))
        (record,) = (await one.listing.large_of(["ann"]))["ann"]
        assert record.head == 3
