"""A change as an entry of its conversation's log: who gets it, how often it is made, and where it is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.talk import (
    People,
    change,
    created,
    edit,
    listed,
    live,
    page,
    read,
    recall,
    refusal,
    say,
    shown,
    still_waiting,
    synced,
)
from tests.support.device.pipes import WAYS, Way
from tidings_protocol.client_pb2 import BlockRequest, Change, Content, GroupRequest, ListConversations, Message
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
async def test_a_change_has_a_seq_an_id_a_time_and_an_entry_for_each_member(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        (laptop,) = await people.come("ann", device="laptop", visiting=True)
        chat = direct(name("ann"), name("bob"))
        sent = await say(ann, chat, "helo")
        changed = await edit(ann, chat, sent.seq, "hello", client_id="mine")
        assert (changed.seq, changed.conversation, changed.client_id) == (sent.seq + 1, chat, "mine")
        assert (changed.number, changed.duplicate) == (sent.number + 1, False)
        assert changed.message_id not in {"", sent.message_id}
        assert changed.time_ms >= sent.time_ms
        for wire in (bob, laptop):
            message = await live(wire, chat, changed.seq)
            assert (message.kind, message.sender, message.client_id) == (Message.CHANGE, name("ann"), "mine")
            assert (message.message_id, message.time_ms) == (changed.message_id, changed.time_ms)
            assert (message.change.seq, message.change.client_id, message.change.conversation) == (sent.seq, "", "")
            assert not message.HasField("content")
            assert message.state == changed.state
            entries = await synced(wire)
            assert [(entry.number, entry.message.seq) for entry in entries] == [(1, 1), (2, 2)]
        assert await still_waiting(ann) == [], "the connection that made it has it by `sent`"


@each_way
async def test_a_change_that_is_tried_again_is_one_change(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "helo")
        for asked in (
            Change(client_id="edit", conversation=chat, seq=1, edit=Content(text="hello")),
            Change(client_id="pin", conversation=chat, seq=1, pin=True),
            Change(client_id="recall", conversation=chat, seq=1, recall=Change.Recall()),
        ):
            first, again = [(await ann.request(change=asked)).sent for _ in range(2)]
            assert (first.duplicate, again.duplicate) == (False, True)
            assert (again.message_id, again.seq, again.number) == (first.message_id, first.seq, first.number)
            assert again.time_ms == first.time_ms
        assert (await page(bob, chat)).head == 4


@each_way
async def test_the_look_for_a_duplicate_comes_first(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "helo", client_id="say")
        edited = await edit(ann, chat, 1, "hello", client_id="edit")
        await recall(ann, chat, 1, client_id="recall")
        again = await edit(ann, chat, 1, "hello", client_id="edit")
        assert (again.seq, again.duplicate, again.state.recalled_by) == (edited.seq, True, name("ann"))
        await bob.request(block=BlockRequest(set=BlockRequest.Set(users=[name("ann")], blocked=True)))
        assert await refusal(edit(ann, chat, 1, "hallo")) == "FORBIDDEN"
        assert (await edit(ann, chat, 1, "hello", client_id="edit")).duplicate
        assert (await say(ann, chat, "helo", client_id="say")).duplicate


@each_way
async def test_a_client_id_of_the_other_kind_is_a_bad_request(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "helo", client_id="said")
        await edit(ann, chat, 1, "hello", client_id="changed")
        assert await refusal(edit(ann, chat, 1, "hullo", client_id="said")) == "BAD_REQUEST"
        assert await refusal(change(ann, chat, 1, react="+", client_id="said")) in {"BAD_REQUEST", ""}
        assert await refusal(say(ann, chat, "more", client_id="changed")) == "BAD_REQUEST"
        assert (await shown(ann, chat, 1)).content.text == "hello"


@each_way
async def test_a_change_is_not_unread_nor_last_and_moves_no_chat_up(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob, cid = await people.come("ann", "bob", "cid")
        chat, other = direct(name("ann"), name("bob")), direct(name("cid"), name("bob"))
        await say(ann, chat, "one")
        await say(ann, chat, "two")
        await say(cid, other, "newer")
        await read(bob, chat, 1)
        await edit(ann, chat, 1, "uno")
        await change(bob, chat, 1, pin=True)
        mine = await listed(bob, chat)
        assert (mine.head, mine.read_seq, mine.unread, mine.last.seq) == (4, 1, 1, 2)
        found = (await bob.request(conversations=ListConversations())).conversation_page.conversations
        order = [each.conversation for each in found if each.conversation in {chat, other}]
        assert order == [other, chat]


@each_way
async def test_a_change_tells_what_its_target_looks_like_after_it(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "helo")
        edited = await edit(ann, chat, 1, "hello")
        pinned = await change(bob, chat, 1, pin=True)
        unpinned = await change(bob, chat, 1, pin=False)
        recalled = await recall(ann, chat, 1)
        assert (edited.state.revision, edited.state.edited_ms) == (edited.seq, edited.time_ms)
        assert (pinned.state.revision, pinned.state.pinned) == (pinned.seq, True)
        assert pinned.state.edited_ms == edited.time_ms
        assert (unpinned.state.revision, unpinned.state.pinned) == (unpinned.seq, False)
        assert (recalled.state.revision, recalled.state.recalled_by) == (recalled.seq, name("ann"))
        told = await live(bob, chat, edited.seq)
        assert (told.change.edit.text, told.state) == ("hello", edited.state)
        told = await live(bob, chat, recalled.seq)
        assert (told.change.WhichOneof("act"), told.state) == ("recall", recalled.state)
        told = await live(ann, chat, unpinned.seq)
        assert (told.change.WhichOneof("act"), told.change.pin) == ("pin", False), "written though it is false"


@each_way
async def test_wherever_a_message_is_read_it_is_the_present_one(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "helo")
        await edit(ann, chat, 1, "hello")
        last = await edit(ann, chat, 1, "hello!")
        places = [
            (await page(bob, chat)).entries[0].message,
            (await synced(bob))[0].message,
            (await listed(bob, chat)).last,
        ]
        for message in places:
            assert (message.content.text, message.state) == ("hello!", last.state)
            assert (message.kind, message.sender, message.seq) == (Message.NORMAL, name("ann"), 1)


@each_way
async def test_history_leaves_changes_out_unless_they_are_asked_for(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "one")
        for number in range(6):
            await edit(ann, chat, 1, f"one {number}")
        await say(ann, chat, "two")
        await edit(ann, chat, 8, "zwei")
        assert [entry.message.seq for entry in (await page(bob, chat)).entries] == [1, 8]
        all_ = await page(bob, chat, changes=True)
        assert [entry.message.seq for entry in all_.entries] == list(range(1, 10))
        # It goes on looking until it has an entry, whichever way.
        newest = await page(bob, chat, limit=1)
        assert [entry.message.seq for entry in newest.entries] == [8]
        older = await page(bob, chat, before=8, limit=1)
        assert ([entry.message.seq for entry in older.entries], older.more) == ([1], False)
        newer = await page(bob, chat, after=1, limit=1)
        assert [entry.message.seq for entry in newer.entries] == [8]
        end = await page(bob, chat, after=8, limit=1)
        assert (list(end.entries), end.next, end.more, end.head) == ([], 9, False, 9)


@each_way
async def test_pages_of_history_always_move_to_the_end(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        for number in range(4):
            sent = await say(ann, chat, f"m{number}")
            await edit(ann, chat, sent.seq, f"M{number}")
            await change(ann, chat, sent.seq, pin=True)
        for changes, wanted in ((False, [1, 4, 7, 10]), (True, list(range(1, 13)))):
            for field in ("after", "before"):
                at, seen, more = (0 if field == "after" else 13), [], True
                while more:
                    found = await page(bob, chat, limit=2, changes=changes, **{field: at})
                    seen += [entry.message.seq for entry in found.entries]
                    more = found.more
                    assert not more or (found.next > at if field == "after" else found.next < at)
                    at = found.next
                assert sorted(seen) == wanted


@each_way
async def test_in_a_page_that_holds_the_target_changes_leave_the_content_out(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "helo")
        edited = await edit(ann, chat, 1, "hello")
        target, its_change = (entry.message for entry in (await page(bob, chat, changes=True)).entries)
        assert (target.content.text, its_change.change.WhichOneof("act")) == ("hello", "edit")
        assert not its_change.change.edit.WhichOneof("body")
        assert its_change.state == target.state == edited.state
        alone = await page(bob, chat, changes=True, after=1)
        assert [entry.message.change.edit.text for entry in alone.entries] == ["hello"]
        _, synced_change = (entry.message for entry in await synced(bob))
        assert not synced_change.change.edit.WhichOneof("body")
        (by_sync,) = (entry.message for entry in await synced(bob, after=1))
        assert by_sync.change.edit.text == "hello"


@each_way
async def test_what_is_refused_takes_no_seq(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "mine")
        assert await refusal(edit(bob, chat, 1, "no, mine")) == "FORBIDDEN"
        assert await refusal(edit(ann, chat, 9, "what?")) == "NOT_FOUND"
        assert await refusal(edit(ann, chat, 1, "")) == "BAD_REQUEST"
        assert (await say(bob, chat, "yours")).seq == 2


@each_way
async def test_all_see_changes_in_one_order(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob, cid = await people.come("ann", "bob", "cid")
        (laptop,) = await people.come("ann", device="laptop", visiting=True)
        group = await created(ann, [name("bob"), name("cid")])
        seq = (await say(ann, group, "start")).seq
        async with asyncio.TaskGroup() as together:
            for number in range(8):
                together.create_task(edit(ann, group, seq, f"phone {number}"))
                together.create_task(edit(laptop, group, seq, f"laptop {number}"))
                together.create_task(say(bob, group, f"bob {number}"))
        pages = [await page(wire, group, after=0, limit=200, changes=True) for wire in (ann, bob, cid, laptop)]
        for found in pages:
            assert [entry.message for entry in found.entries] == [entry.message for entry in pages[0].entries]
        seen: list[Message] = []
        while len(seen) < 24:
            frame = await cid.push("deliver")
            seen += [entry.message for entry in frame.deliver.entries if entry.message.seq > seq]
        assert [each.seq for each in seen] == list(range(seq + 1, seq + 25))
        texts = [each.change.edit.text for each in seen if each.kind == Message.CHANGE]
        assert (await shown(cid, group, seq)).content.text == texts[-1]
        assert len(texts) == 16


@each_way
async def test_who_may_not_read_a_conversation_changes_nothing_in_it(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob, eve = await people.come("ann", "bob", "eve")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "between us")
        group = await created(ann, [name("bob")])
        seq = (await say(bob, group, "for a while")).seq
        await bob.request(group=GroupRequest(leave=GroupRequest.Leave(conversation=group)))
        for wire, conversation, target in ((eve, chat, 1), (eve, group, seq), (bob, group, seq)):
            for asked in (
                edit(wire, conversation, target, "changed"),
                recall(wire, conversation, target),
                change(wire, conversation, target, pin=True),
                change(wire, conversation, target, react="+"),
                change(wire, conversation, target, unreact="+"),
            ):
                assert await refusal(asked) == "FORBIDDEN"
        assert await refusal(recall(eve, f"g:{name('none')}", 1)) == "NOT_FOUND"
        assert await refusal(recall(eve, direct(name("eve"), name("ann")), 1)) == "NOT_FOUND"


@each_way
async def test_what_cannot_be_a_target_is_not_found(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [])
        before = (await say(ann, group, "before bob")).seq
        its_edit = (await edit(ann, group, before, "before Bob")).seq
        await ann.request(group=GroupRequest(add=GroupRequest.Add(conversation=group, users=[name("bob")])))
        for wire, target in ((ann, 1), (ann, its_edit), (ann, 99), (bob, before), (bob, 1)):
            for asked in (
                edit(wire, group, target, "changed"),
                recall(wire, group, target),
                change(wire, group, target, react="+"),
                change(wire, group, target, unreact="+"),
            ):
                assert await refusal(asked) == "NOT_FOUND", target
        for target in (1, its_edit, 99):
            assert await refusal(change(ann, group, target, pin=True)) == "NOT_FOUND"


@each_way
async def test_a_reply_may_be_to_what_was_recalled_and_to_a_notice_but_to_no_change(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        group = await created(ann, [name("bob")])
        seq = (await say(ann, group, "oh")).seq
        recalled = (await recall(ann, group, seq)).seq
        for target in (1, seq):
            reply = await say(ann, group, "re", reply_to=target)
            assert (await shown(ann, group, reply.seq)).content.reply_to == target
        assert await refusal(say(ann, group, "re", reply_to=recalled)) == "BAD_REQUEST"
