"""What a client is answered about messages, inboxes and presence, by the real nodes and by what stands in for them."""

from __future__ import annotations

import pytest

from tests.contract.client_protocol.servers import Server
from tests.support.device.wire import Closed, Wire
from tidings_protocol.client_pb2 import Change, Content, Message, Ping, PresenceRequest, Read, Send, Sent, Signal, Sync
from tidings_protocol.ids import direct, message_id

CHAT = direct("ann", "bob")


async def send(wire: Wire, text: str, user: str = "bob") -> Sent:
    return (await wire.request(send=Send(client_id=text, user=user, content=Content(text=text)))).sent


async def test_a_send_has_its_place_in_the_conversation_and_in_the_senders_inbox(server: Server) -> None:
    async with server.session("ann") as ann:
        first, second = await send(ann, "one"), await send(ann, "two")
    assert (first.conversation, first.client_id, first.seq, first.number) == (CHAT, "one", 1, 1)
    assert (second.seq, second.number, second.duplicate) == (2, 2, False)
    assert second.message_id == message_id(CHAT, 2)
    assert 0 < first.time_ms <= second.time_ms


async def test_a_repeated_send_is_told_its_first_place(server: Server) -> None:
    async with server.session("ann") as ann:
        first = await send(ann, "one")
        await send(ann, "two")
        again = await send(ann, "one")
    assert again.duplicate
    assert (again.seq, again.number, again.message_id, again.time_ms) == (1, 1, first.message_id, first.time_ms)


async def test_a_second_recall_changes_nothing_and_takes_no_place(whole_server: Server) -> None:
    async with whole_server.session("ann") as ann, whole_server.session("bob") as bob:
        await send(ann, "one")
        recall = Change(client_id="r", conversation=CHAT, seq=1, recall=Change.Recall())
        first = (await ann.request(change=recall)).sent
        assert (first.seq, first.state.revision, first.message_id) == (2, 2, message_id(CHAT, 2))
        assert (await ann.request(change=recall)).sent.seq == 2, "asked again it is the first"
        recall.client_id = "again"
        again = (await ann.request(change=recall)).sent
        assert (again.seq, again.number, again.message_id, again.duplicate) == (0, 0, "", False)
        assert again.state == first.state
        assert (await send(bob, "two", "ann")).seq == 3


async def test_a_message_is_delivered_to_every_other_connection_with_its_inbox_number(server: Server) -> None:
    async with server.session("ann") as ann, server.session("ann", "web") as web, server.session("bob") as bob:
        sent = await send(ann, "one")
        for wire in (bob, web):
            (entry,) = (await wire.push("deliver")).deliver.entries
            message = entry.message
            assert (entry.number, message.conversation, message.seq, message.sender) == (1, CHAT, 1, "ann")
            assert (message.content.text, message.client_id, message.kind) == ("one", "one", Message.NORMAL)
            assert (message.message_id, message.time_ms) == (sent.message_id, sent.time_ms)
        await ann.request(ping=Ping())
        assert ann.pushed("deliver") == [], "who sent it has it by the answer"


async def test_a_sync_gives_what_comes_behind_the_cursor_and_the_head(server: Server) -> None:
    async with server.session("ann") as ann, server.session("bob") as bob:
        for number in range(1, 6):
            await send(ann, f"message {number}")
        page = (await bob.request(sync=Sync(after=2))).page
        assert [entry.number for entry in page.entries] == [3, 4, 5]
        assert [entry.message.content.text for entry in page.entries] == [f"message {n}" for n in (3, 4, 5)]
        assert (page.next, page.head, page.more, page.truncated) == (5, 5, False, False)
        nothing = (await bob.request(sync=Sync(after=5))).page
        assert (list(nothing.entries), nothing.next, nothing.head) == ([], 5, 5)


async def test_a_welcome_and_a_pong_tell_the_head_of_the_inbox(server: Server) -> None:
    async with server.session("ann") as ann, server.session("bob") as bob:
        await send(ann, "one")
        await bob.push("deliver")
        assert (await bob.request(ping=Ping())).pong.inbox_head == 1
        async with server.session("bob", "web") as web:
            (welcome,) = [frame.welcome for frame in web.received if frame.HasField("welcome")]
    assert (welcome.user, welcome.inbox_head, welcome.reset) == ("bob", 1, False)
    assert welcome.epoch
    assert welcome.heartbeat_s > 0
    assert welcome.backoff.base_ms > 0


async def test_data_of_another_epoch_begin_anew(server: Server) -> None:
    async with server.session("ann", cursor=7, epoch="of another database") as ann:
        (welcome,) = [frame.welcome for frame in ann.received if frame.HasField("welcome")]
    assert welcome.reset


async def test_a_signal_reaches_the_other_user_and_is_not_kept(server: Server) -> None:
    async with server.session("ann") as ann, server.session("bob") as bob:
        await ann.post(signal=Signal(conversation=CHAT, name="typing", data=b"yes"))
        signal = (await bob.push("signal")).signal
        assert (signal.conversation, signal.name, signal.data, getattr(signal, "from")) == (
            CHAT,
            "typing",
            b"yes",
            "ann",
        )
        assert (await bob.request(ping=Ping())).pong.inbox_head == 0


async def test_a_read_of_what_there_is_is_taken(server: Server) -> None:
    async with server.session("ann") as ann, server.session("bob") as bob:
        await send(ann, "one")
        await bob.push("deliver")
        assert (await bob.request(read=Read(conversation=CHAT, seq=1))).WhichOneof("body") == "ok"


async def test_presence_tells_who_has_a_session(server: Server) -> None:
    async with server.session("ann") as ann, server.session("bob"):
        answer = (await ann.request(presence=PresenceRequest(users=["bob", "nobody"]))).presence_list
    assert [(each.user, each.online) for each in answer.users] == [("bob", True), ("nobody", False)]


async def test_a_bye_ends_the_connection(server: Server) -> None:
    async with server.session("ann") as ann:
        await ann.post(bye={})
        assert isinstance(await ann.end(), Closed)
        with pytest.raises((Closed, ConnectionError)):
            await ann.request(ping=Ping())
