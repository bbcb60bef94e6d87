"""Pages of conversations in which messages were changed or hidden."""

from __future__ import annotations

from typing import Any

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.pages.paging import LOOK_MAX
from services.storage.repository.reactions import ReactionWrite, StoredReaction
from services.storage.repository.records import StoredMessage
from tests.unit.storage.changed import CHAT, acted, edited, hide, put, read, said, state
from tests.unit.storage.nodes import World, send, stored
from tidings_protocol import client_pb2


async def history(node: Storage, user: str = "bob", **fields: Any) -> pb.PageOutcome:
    (page,) = await node.pages.history([pb.HistoryItem(conversation=CHAT, user=user, **fields)])
    return page


async def inbox(node: Storage, user: str = "bob", after: int = 0, limit: int = 100) -> pb.PageOutcome:
    (page,) = await node.pages.inbox([pb.InboxItem(user=user, after=after, limit=limit)])
    return page


def seqs(page: pb.PageOutcome) -> list[int]:
    return [read(entry.message).seq for entry in page.entries]


def by_seq(page: pb.PageOutcome) -> dict[int, client_pb2.Message]:
    return {message.seq: message for message in (read(entry.message) for entry in page.entries)}


def a_talk() -> list[StoredMessage]:
    """1 (stored before), 2 was edited by 3 and 5, 4 was recalled by 6, 7 is the last message; 8 pins the first one."""
    return [
        said(2, "newest", state=state(5, revision=5, edited_ms=9)),
        edited(3, 2),
        said(4, before=1, state=state(revision=6, recalled_by="ann"))._replace(content=b""),
        edited(5, 2, "newest", before=1),
        acted(6, 4, sender="ann", before=2, recall=client_pb2.Change.Recall()),
        said(7, "last", before=3),
        acted(8, 1, before=3, pin=True),
    ]


@pytest.fixture
def world() -> World:
    return World()


async def test_history_leaves_changes_out_and_shows_messages_as_they_are_now(world: World) -> None:
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        await put(world, node, *a_talk())
        page = await history(node)
        assert (seqs(page), page.more, page.head, page.next) == ([1, 2, 4, 7], False, 8, 1)
        messages = by_seq(page)
        assert (messages[2].content.text, messages[2].state.revision, messages[2].ordinal) == ("newest", 5, 2)
        assert (messages[4].HasField("content"), messages[4].state.recalled_by) == (False, "ann")
        assert (messages[7].HasField("state"), messages[7].ordinal) == (False, 4)


async def test_history_brings_changes_if_asked_with_the_state_of_their_targets(world: World) -> None:
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        await put(world, node, *a_talk())
        page = await history(node, changes=True)
        assert seqs(page) == [1, 2, 3, 4, 5, 6, 7, 8]
        messages = by_seq(page)
        assert [messages[seq].state.revision for seq in (3, 5, 6)] == [5, 5, 6]
        assert not messages[5].change.edit.text, "its target is on the page"
        part = await history(node, after=4, changes=True)
        assert (seqs(part), by_seq(part)[5].change.edit.text) == ([5, 6, 7, 8], "newest")
        assert by_seq(part)[8].change == client_pb2.Change(seq=1, pin=True)


async def test_the_content_of_an_edit_comes_where_its_target_was_cut_off(world: World) -> None:
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        await put(world, node, said(2, state=state(3, revision=3)), edited(3, 2, "x" * 3000), said(4, before=1))
        for limit, text in ((2, "x" * 3000), (3, "")):
            page = await history(node, changes=True, limit=limit)
            assert by_seq(page)[3].change.edit.text == text


async def test_next_is_past_what_was_left_out(world: World) -> None:
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        await put(world, node, *(acted(seq, 1, before=seq - 2, pin=True) for seq in range(2, 8)), said(8, before=6))
        page = await history(node, after=0, limit=1)
        # The second entry that was looked at was a CHANGE: nobody knows yet whether there is more to show.
        assert (seqs(page), page.more, page.next) == ([1], True, 2)
        page = await history(node, after=page.next, limit=1)
        assert (seqs(page), page.more, page.next) == ([8], False, 8)
        newest = await history(node, limit=1)
        assert (seqs(newest), newest.more, newest.next) == ([8], True, 7)
        before = await history(node, before=newest.next, limit=1)
        assert (seqs(before), before.more, before.next) == ([1], False, 1)
        end = await history(node, after=8)
        assert (seqs(end), end.more, end.next) == ([], False, 8)


async def test_a_page_looks_at_so_many_entries_and_moves_all_the_same(world: World) -> None:
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        last = LOOK_MAX + 1200
        await put(world, node, *(acted(seq, 1, before=seq - 2, pin=True) for seq in range(2, last)))
        page = await history(node, after=1, limit=10)
        assert (seqs(page), page.more, page.next) == ([], True, LOOK_MAX + 1)
        page = await history(node, after=page.next, limit=10)
        assert (seqs(page), page.more, page.next) == ([], False, last - 1)
        page = await history(node, limit=10)
        assert (seqs(page), page.more, page.next) == ([], True, last - LOOK_MAX)
        page = await history(node, before=page.next, limit=10)
        assert (seqs(page), page.more, page.next) == ([1], False, 1)


async def test_what_is_hidden_is_in_nobodys_history_but_that_of_others(world: World) -> None:
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        await put(world, node, *a_talk())
        await hide(node, "bob", 2, 7)
        page = await history(node, changes=True)
        assert seqs(page) == [1, 3, 4, 5, 6, 8]
        stubs = [seq for seq, message in by_seq(page).items() if not message.message_id]
        assert stubs == [3, 5], "CHANGEs of what is hidden"
        assert seqs(await history(node)) == [1, 4]
        assert seqs(await history(node, "ann")) == seqs(await history(node, "")) == [1, 2, 4, 7]
        await hide(node, "bob", through=7)
        page = await history(node, changes=True)
        assert (seqs(page), page.more) == ([3, 5, 6, 8], False)
        assert seqs(await history(node)) == []


async def test_who_joined_after_a_message_has_no_content_of_its_edits(world: World) -> None:
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        await put(world, node, *a_talk())
        page = await history(node, changes=True, first_seq=4)
        assert (seqs(page), by_seq(page)[5]) == ([4, 5, 6, 7, 8], client_pb2.Message(conversation=CHAT, seq=5))


async def test_an_inbox_keeps_every_number_and_of_what_is_hidden_the_place(world: World) -> None:
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        await put(world, node, *a_talk())
        await hide(node, "bob", 2)
        page = await inbox(node)
        assert [entry.number for entry in page.entries] == list(range(1, 9))
        messages = by_seq(page)
        assert [seq for seq in messages if not messages[seq].message_id] == [2, 3, 5]
        assert messages[2] == client_pb2.Message(conversation=CHAT, seq=2)
        assert (messages[6].change.HasField("recall"), messages[6].state.recalled_by) == (True, "ann")
        ann = by_seq(await inbox(node, "ann"))
        assert (ann[2].content.text, ann[5].change.edit.text, ann[5].state.revision) == ("newest", "", 5)
        part = by_seq(await inbox(node, "ann", after=4, limit=1))
        assert (list(part), part[5].change.edit.text) == ([5], "newest")


async def test_long_contents_of_edits_come_whole(world: World) -> None:
    text = "x" * 40_000
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        await put(world, node, said(2, text, state=state(3, revision=3)), edited(3, 2, text), said(4, before=1))
        for page in (await history(node, after=2, changes=True), await inbox(node, after=2)):
            assert by_seq(page)[3].change.edit.text == text
        for page in (await history(node, after=1, changes=True), await inbox(node, after=1)):
            assert (by_seq(page)[2].content.text, by_seq(page)[3].change.edit.text) == (text, "")


async def test_what_cannot_be_read_spoils_no_page(world: World) -> None:
    poison = b"\x7b" * 200 + b"\x7c" * 200
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        message, change = said(2, state=state(revision=4, pinned=True)), edited(3, 2)
        await put(world, node, message, change, acted(4, 2, before=1, pin=True))
        await node.conversations.get([CHAT])
        kept = world.database.messages[CHAT]
        kept[2], kept[3] = message._replace(content=poison), change._replace(act=poison)
        for page in (await history(node, changes=True), await inbox(node)):
            messages = by_seq(page)
            assert list(messages) == [1, 2, 3, 4]
            assert (messages[2].HasField("content"), messages[4].change.pin) == (False, True)


async def test_what_is_expired_is_shown_without_content(world: World) -> None:
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        expires_ms = world.clock.wall_ms() + 1000
        await put(world, node, said(2, expires_ms=expires_ms))
        assert by_seq(await history(node))[2].content.text == "hello"
        world.clock.advance(2)
        for page in (await history(node), await inbox(node)):
            assert (by_seq(page)[2].state.recalled_by, by_seq(page)[2].HasField("content")) == ("~expiry", False)


async def test_a_reader_sees_which_reactions_are_their_own_in_pages_and_in_the_list(world: World) -> None:
    liked = state(3, revision=3, reactions=[client_pb2.Reaction(reaction="+", count=2, users=["ann", "bob"])])
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        await put(world, node, said(2, "liked", state=liked), acted(3, 2, reacted=REACTED))
        await world.database.repository().reactions.write([ReactionWrite(StoredReaction(CHAT, 2, "bob", "+", 1, 1))])
        for reader, mine in (("bob", True), ("ann", False)):
            shown = by_seq(await history(node, reader, changes=True))
            assert [each.mine for each in (*shown[2].state.reactions, *shown[3].state.reactions)] == [mine, mine]
            (listed,) = await node.lists.pages([pb.ConversationsItem(user=reader)])
            last = read(listed.entries[0].last)
            assert (last.seq, last.state.reactions[0].mine) == (2, mine)


REACTED = client_pb2.Change.Reacted(added=[client_pb2.Change.Reacted.One(user="bob", reaction="+")])
