"""What is read after messages were changed, and what users hide for themselves, over every wire."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import (
    Change,
    Content,
    Conversation,
    GroupRequest,
    Hidden,
    Hide,
    History,
    ListConversations,
    Message,
    Page,
    Read,
    Send,
    Sync,
)
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]


async def say(wire: Wire, text: str, conversation: str, **content: object) -> int:
    send = Send(client_id=text, conversation=conversation, content=Content(text=text, **content))  # type: ignore[arg-type]
    return (await wire.request(send=send)).sent.seq


async def change(wire: Wire, client_id: str, conversation: str, seq: int, **act: object) -> int:
    asked = Change(client_id=client_id, conversation=conversation, seq=seq, **act)  # type: ignore[arg-type]
    return (await wire.request(change=asked)).sent.seq


async def page(wire: Wire, conversation: str, **fields: int) -> Page:
    asked = History(conversation=conversation, **fields)  # type: ignore[arg-type]
    return (await wire.request(history=asked)).page


async def listed(wire: Wire, conversation: str) -> Conversation:
    found = (await wire.request(conversations=ListConversations())).conversation_page.conversations
    return next(each for each in found if each.conversation == conversation)


def seqs(found: Page) -> list[int]:
    return [entry.message.seq for entry in found.entries]


async def test_pages_and_lists_show_what_changes_made_of_messages(cluster: Cluster, name: Name) -> None:
    chat = direct(name("ann"), name("bob"))
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("bob"), "tcp", visiting=True) as (bob, _):
        for text in ("frist", "second", "third"):
            await say(ann, text, chat)
        await say(ann, "you", chat, mentions=[name("bob")])
        assert await change(ann, "e", chat, 1, edit=Content(text="first")) == 5
        assert await change(ann, "r", chat, 2, recall=Change.Recall()) == 6
        assert await change(bob, "p", chat, 3, pin=True) == 7
        found = await page(bob, chat)
        assert (seqs(found), found.head, found.more) == ([1, 2, 3, 4], 7, False)
        first, second, third, _ = (entry.message for entry in found.entries)
        assert (first.content.text, first.state.revision, second.state.recalled_by) == ("first", 5, name("ann"))
        assert (second.HasField("content"), third.state.pinned) == (False, True)
        all_ = await page(bob, chat, changes=True)
        assert seqs(all_) == [1, 2, 3, 4, 5, 6, 7]
        assert [entry.message.state.revision for entry in all_.entries] == [5, 6, 7, 0, 5, 6, 7]
        alone = await page(bob, chat, changes=True, after=4, limit=1)
        assert alone.entries[0].message.change.edit.text == "first"
        mine = await listed(bob, chat)
        assert (mine.unread, mine.unread_mentions, mine.first_mention_seq, mine.read_ordinal) == (3, 1, 4, 0)
        assert (mine.last.seq, list(mine.pinned), mine.peer) == (4, [3], name("ann"))
        await bob.request(read=Read(conversation=chat, seq=5))
        mine = await listed(bob, chat)
        assert (mine.unread, mine.unread_mentions, mine.read_ordinal) == (0, 0, 4)


async def test_what_is_hidden_is_hidden_on_all_devices_of_one_user(cluster: Cluster, name: Name) -> None:
    chat = direct(name("ann"), name("bob"))
    async with (
        cluster.session(name("ann"), visiting=True) as (ann, _),
        cluster.session(name("bob"), device="phone") as (phone, _),
        cluster.session(name("bob"), "tcp", device="laptop", visiting=True) as (laptop, _),
    ):
        for text in ("one", "two", "three"):
            await say(ann, text, chat)
        assert (await phone.request(hide=Hide(conversation=chat, seqs=[3, 9], through=1))).HasField("ok")
        assert (await laptop.push("hidden")).hidden == Hidden(conversation=chat, seqs=[3], through=1)
        await change(ann, "e", chat, 3, edit=Content(text="drei"))
        stub = Message(conversation=chat, seq=4)
        live: list[Message] = []
        while stub not in live:
            live += [entry.message for entry in (await laptop.push("deliver")).deliver.entries]
        assert seqs(await page(laptop, chat)) == [2]
        found = await page(phone, chat, changes=True)
        assert [entry.message for entry in found.entries][1:] == [stub]
        synced = (await phone.request(sync=Sync(after=0))).page
        assert [(entry.number, entry.message.message_id != "") for entry in synced.entries] == [
            (1, False),
            (2, True),
            (3, False),
            (4, False),
        ]
        mine, theirs = await listed(phone, chat), await listed(ann, chat)
        assert (mine.last.seq, mine.unread, mine.hidden_through) == (2, 1, 1)
        assert (theirs.last.content.text, theirs.hidden_through, seqs(await page(ann, chat))) == ("drei", 0, [1, 2, 3])


async def test_nobody_hides_where_they_may_not_read(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("eve"), "tcp") as (eve, _):
        create = GroupRequest(create=GroupRequest.Create(name="team"))
        group = (await ann.request(group=create)).group_info.conversation
        for wire, asked, code in (
            (eve, Hide(conversation=group, seqs=[1]), "FORBIDDEN"),
            (eve, Hide(conversation=direct(name("ann"), name("bob")), through=1), "FORBIDDEN"),
            (ann, Hide(conversation=group, seqs=range(1, 202)), "BAD_REQUEST"),
            (ann, Hide(conversation=group), "BAD_REQUEST"),
        ):
            with pytest.raises(Refused) as refused:
                await wire.request(hide=asked)
            assert refused.value.code == code
        assert (await ann.request(hide=Hide(conversation=group, through=99))).HasField("ok")
        assert (await listed(ann, group)).hidden_through == 1
