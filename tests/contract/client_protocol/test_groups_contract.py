"""What a client is answered about histories, groups and lists, by the real nodes and by the model of the client's
tests."""

from __future__ import annotations

import pytest

from tests.contract.client_protocol.servers import Server
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import Content, Conversation, GroupRequest, History, ListConversations, Read, Send
from tidings_protocol.ids import direct

CHAT = direct("ann", "bob")


async def say(wire: Wire, conversation: str, *texts: str) -> None:
    for text in texts:
        await wire.request(send=Send(client_id=text, conversation=conversation, content=Content(text=text)))


async def created(wire: Wire, name: str, *members: str, client_id: str = "") -> str:
    create = GroupRequest.Create(name=name, members=members, client_id=client_id)
    return (await wire.request(group=GroupRequest(create=create))).group_info.conversation


async def texts_of(wire: Wire, **asked: object) -> list[str]:
    page = (await wire.request(history=History(conversation=CHAT, **asked))).page  # type: ignore[arg-type]
    return [entry.message.content.text for entry in page.entries]


async def test_a_history_is_read_forwards_and_backwards(whole_server: Server) -> None:
    async with whole_server.session("ann") as ann:
        await say(ann, CHAT, "one", "two", "three", "four")
        assert await texts_of(ann, after=0, limit=3) == ["one", "two", "three"]
        assert await texts_of(ann, after=3) == ["four"]
        assert await texts_of(ann, limit=2) == ["three", "four"]
        assert await texts_of(ann, before=3, limit=5) == ["one", "two"]
        forwards = (await ann.request(history=History(conversation=CHAT, after=0, limit=3))).page
        assert (forwards.next, forwards.head, forwards.more) == (3, 4, True)
        backwards = (await ann.request(history=History(conversation=CHAT, limit=2))).page
        assert (backwards.next, backwards.head, backwards.more) == (3, 4, True)


async def test_a_group_is_made_once_for_a_client_id(whole_server: Server) -> None:
    async with whole_server.session("ann") as ann:
        first = await created(ann, "us", "bob", client_id="c1")
        assert await created(ann, "us", "bob", client_id="c1") == first
        info = (await ann.request(group=GroupRequest(info=GroupRequest.Info(conversation=first)))).group_info
    assert first.startswith("g:")
    assert (info.conversation, info.name, info.member_count) == (first, "us", 2)


async def test_a_members_message_reaches_the_others_and_a_strangers_is_refused(whole_server: Server) -> None:
    async with (
        whole_server.session("ann") as ann,
        whole_server.session("bob") as bob,
        whole_server.session("eve") as eve,
    ):
        group = await created(ann, "us", "bob")
        await say(ann, group, "hello")
        while not any(entry.message.content.text == "hello" for entry in (await bob.push("deliver")).deliver.entries):
            pass
        with pytest.raises(Refused, match="FORBIDDEN"):
            await say(eve, group, "let me in")
        with pytest.raises(Refused, match="FORBIDDEN"):
            await eve.request(history=History(conversation=group))


async def test_a_group_that_is_not_there_is_not_found(whole_server: Server) -> None:
    async with whole_server.session("ann") as ann:
        with pytest.raises(Refused, match="NOT_FOUND"):
            await ann.request(group=GroupRequest(info=GroupRequest.Info(conversation="g:0123456789abcdefghjkmnpqrs")))


async def test_who_is_added_is_a_member_and_who_is_removed_is_none(whole_server: Server) -> None:
    async with whole_server.session("ann") as ann:
        group = await created(ann, "us", "bob")

        async def members() -> list[str]:
            request = GroupRequest(members=GroupRequest.Members(conversation=group))
            return [member.user for member in (await ann.request(group=request)).member_page.members]

        await ann.request(group=GroupRequest(add=GroupRequest.Add(conversation=group, users=["cid"])))
        assert await members() == ["ann", "bob", "cid"]
        await ann.request(group=GroupRequest(remove=GroupRequest.Remove(conversation=group, users=["bob"])))
        assert await members() == ["ann", "cid"]


async def test_a_list_has_the_newest_first_with_its_last_message_and_what_was_read(whole_server: Server) -> None:
    async with whole_server.session("ann") as ann, whole_server.session("bob") as bob:
        await say(ann, CHAT, "one", "two")
        await say(ann, direct("ann", "cid"), "three")
        await bob.request(read=Read(conversation=CHAT, seq=1))
        mine = (await ann.request(conversations=ListConversations(limit=10))).conversation_page
        his = (await bob.request(conversations=ListConversations(limit=10))).conversation_page
    assert [each.conversation for each in mine.conversations] == [direct("ann", "cid"), CHAT]
    (chat,) = his.conversations
    assert (chat.conversation, chat.kind, chat.head, chat.read_seq) == (CHAT, Conversation.DIRECT, 2, 1)
    assert (chat.last.content.text, his.more) == ("two", False)


async def test_what_was_read_is_a_receipt_for_the_other(whole_server: Server) -> None:
    async with whole_server.session("ann") as ann, whole_server.session("bob") as bob:
        await say(ann, CHAT, "one", "two")
        await bob.request(read=Read(conversation=CHAT, seq=2))
        receipt = (await ann.push("receipt")).receipt
    assert (receipt.conversation, receipt.user, receipt.read_seq, receipt.delivered_seq) == (CHAT, "bob", 2, 2)
