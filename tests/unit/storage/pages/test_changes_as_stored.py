"""Pages and lists of what a node has stored itself: sends, changes of them, and what users hide."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from tests.unit.storage.changed import CHAT, hide, read
from tests.unit.storage.changing import edit, edit_of, in_group, one, pin, recall, special
from tests.unit.storage.nodes import World, change, changed, content_of, create, post, send, stored
from tidings_protocol import client_pb2

GROUP = "g:1"


async def history(node: Storage, user: str = "bob", **fields: int) -> list[client_pb2.Message]:
    item = pb.HistoryItem(conversation=CHAT, user=user, **fields)  # type: ignore[arg-type]
    (page,) = await node.pages.history([item])
    return [read(entry.message) for entry in page.entries]


async def inbox(node: Storage, user: str = "bob") -> list[client_pb2.Message]:
    (page,) = await node.pages.inbox([pb.InboxItem(user=user, limit=100)])
    assert [entry.number for entry in page.entries] == list(range(1, len(page.entries) + 1))
    return [read(entry.message) for entry in page.entries]


async def listed(node: Storage, user: str = "bob") -> pb.ConversationEntry:
    (outcome,) = await node.lists.pages([pb.ConversationsItem(user=user)])
    [entry] = outcome.entries
    return entry


async def test_a_page_shows_what_the_answer_to_the_change_said() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a", "frist"), send("ann", "bob", "b", "second"))
        edited = await one(node, edit("ann", "bob", "c", 1, "first"))
        recalled = await one(node, recall("ann", "bob", "d", 2))
        first, second = await history(node)
        assert (first.content.text, first.state) == ("first", client_pb2.State.FromString(edited.state))
        assert (second.HasField("content"), second.state) == (False, client_pb2.State.FromString(recalled.state))
        for messages in (await history(node, changes=True), await inbox(node)):
            assert [message.seq for message in messages] == [1, 2, 3, 4]
            assert [message.state.revision for message in messages] == [3, 4, 3, 4]
            assert not messages[2].change.edit.text
        [change] = await history(node, changes=True, after=2, limit=1)
        assert change == client_pb2.Message.FromString(edited.message)


async def test_a_list_counts_what_is_left_after_changes() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"), send("ann", "bob", "b"), send("ann", "bob", "c"))
        await stored(node, special(send("ann", "bob", "d"), mentions=["bob"]))
        await one(node, recall("ann", "bob", "e", 2))
        await one(node, pin("bob", "ann", "f", 1))
        entry = await listed(node)
        assert (entry.unread, entry.unread_mentions, entry.first_mention_seq, read(entry.last).seq) == (3, 1, 4, 4)
        assert (list(entry.record.pinned), entry.read_ordinal) == ([1], 0)
        await one(node, recall("ann", "bob", "g", 4))
        entry = await listed(node)
        assert (entry.unread, entry.unread_mentions) == (2, 0)
        assert read(entry.last).state.recalled_by == "ann"


async def test_an_edit_that_mentions_anew_counts_until_it_is_taken_back() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"), send("ann", "bob", "b"))
        await node.cursors.mark([pb.MarkItem(conversation=CHAT, user="bob", read_seq=2)])
        named = client_pb2.Content(text="you", mentions=["bob"]).SerializeToString()
        item = edit("ann", "bob", "c", 1, mentions=["bob"])
        item.content = named
        await one(node, item)
        entry = await listed(node)
        assert (entry.unread, entry.unread_mentions, entry.first_mention_seq, entry.read_ordinal) == (0, 1, 3, 2)
        item = edit("ann", "bob", "d", 1)
        item.content = content_of("nobody")
        await one(node, item)
        assert (await listed(node)).unread_mentions == 0


async def test_who_has_hidden_a_message_gets_stubs_of_its_changes_everywhere() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"), send("ann", "bob", "b"))
        await hide(node, "bob", 1)
        outcome = await one(node, edit("ann", "bob", "c", 1))
        assert list(outcome.stubs) == ["bob"]
        place = client_pb2.Message(conversation=CHAT, seq=3)
        assert (await inbox(node))[2] == (await history(node, changes=True))[1] == place
        assert (await inbox(node, "ann"))[2].state.revision == 3
        assert list((await one(node, edit("ann", "bob", "d", 2))).stubs) == []


async def test_who_came_after_a_message_gets_stubs_of_its_changes_everywhere() -> None:
    both = ("ann", "bob")
    async with World().node() as node:
        made = await changed(node, create(GROUP, "ann"))
        await stored(node, post(GROUP, "ann", "m", made.record.version, ("ann",)))
        await changed(node, change(GROUP, "ann", "add", made.record.version, joins=["bob"], notices=[both]))
        item = in_group(GROUP, "ann", "e", edit_of(2), version=2, recipients=both, content=content_of("a secret"))
        first, again = await one(node, item), await one(node, item)
        assert list(first.stubs) == list(again.stubs) == ["bob"]
        place = client_pb2.Message(conversation=GROUP, seq=first.seq)
        assert (await inbox(node))[-1] == place
        assert (await inbox(node, "ann"))[-1].state.revision == first.seq
        await stored(node, post(GROUP, "ann", "n", 2, both))
        later = in_group(GROUP, "ann", "f", edit_of(5), version=2, recipients=both, content=content_of("for both"))
        assert list((await one(node, later)).stubs) == []
        assert (await inbox(node))[-1].state.revision == 6
