"""Messages that are changed: what the library asks, what it tells, against a scripted access node on real sockets."""

from __future__ import annotations

import asyncio

import pytest

from tests.scenario.client.events import PATIENCE_S, the_next
from tests.support.cluster.fake_access import FakeAccess
from tests.support.cluster.model_server import ModelServer
from tidings import (
    BadRequest,
    ChangeAct,
    Client,
    Expired,
    Forbidden,
    Hidden,
    Media,
    Message,
    MessageChanged,
    NotFound,
    Reacted,
)
from tidings_protocol import client_pb2 as pb

CHAT = "d:ann|bob"


@pytest.mark.parametrize("codec", ["proto", "json"])
async def test_what_is_done_to_a_message_is_told_to_everybody(access: FakeAccess, codec: str) -> None:
    async with Client(access.ws, token="ann", codec=codec) as ann, Client(access.ws, token="bob", codec=codec) as bob:
        sent = await ann.send("bob", "one", mentions=["bob"])
        assert (await the_next(bob, Message)).mentions == ("bob",)

        edited = await ann.edit("bob", sent.seq, "two", headers={"k": "v"})
        assert edited.state is not None
        assert edited.state.revision == edited.seq == 2
        for reader in (ann, bob):  # who did it is told as well
            change = await the_next(reader, MessageChanged)
            assert (change.act, change.by, change.change_seq) == (ChangeAct.EDIT, "ann", 2)
            assert change.content is not None
            assert (change.content.text, change.content.headers) == ("two", {"k": "v"})

        await bob.react("ann", sent.seq, "👍")
        change = await the_next(ann, MessageChanged)
        assert (change.act, change.added) == (ChangeAct.REACT, (Reacted("bob", "👍"),))
        assert [(one.reaction, one.count, one.mine) for one in change.state.reactions] == [("👍", 1, False)]
        change = await the_next(bob, MessageChanged)
        assert change.message is not None
        assert change.message.reactions[0].mine
        assert [reactor.user for reactor in await ann.reactors("bob", sent.seq)] == ["bob"]
        await bob.unreact("ann", sent.seq, "👍")
        assert (await the_next(ann, MessageChanged)).removed == (Reacted("bob", "👍"),)

        await ann.pin("bob", sent.seq)
        assert (await the_next(ann, MessageChanged)).state.pinned
        assert (await ann.conversations())[0].pinned == (sent.seq,)
        await ann.unpin("bob", sent.seq)
        assert (await the_next(ann, MessageChanged)).act is ChangeAct.UNPIN

        await ann.recall("bob", sent.seq)
        change = await the_next(ann, MessageChanged)
        assert (change.act, change.state.recalled_by) == (ChangeAct.RECALL, "ann")
        (recalled,) = (await bob.history("ann")).messages
        assert (recalled.text, recalled.recalled) == ("", True)
        page = await bob.history("ann", after=0, changes=True)
        assert [told.act for told in page.changes][-1] is ChangeAct.RECALL
        inbox = await bob.inbox(0)
        assert [number for number, _ in inbox.entries] == [1]
        assert [number for number, _ in inbox.changes] == list(range(2, inbox.head + 1))
        assert [told.id for _, told in inbox.changes] == [told.id for told in page.changes]
        assert all(told.id for told in page.changes)


async def test_a_reader_of_messages_alone_is_told_no_changes_and_holds_them_all(
    access: FakeAccess, server: ModelServer
) -> None:
    async with Client(access.ws, token="bob", inbox_max=3) as bob:
        server.text("ann", CHAT, "one")
        for number in range(10):
            server.changes.change("ann", pb.Change(client_id=f"{number}", conversation=CHAT, seq=1, pin=True))
        server.text("ann", CHAT, "two")
        async with asyncio.timeout(PATIENCE_S):
            messages = bob.messages()
            assert [(await anext(messages)).text, (await anext(messages)).text] == ["one", "two"]
    assert server.acknowledged[-1] == 12


async def test_a_change_is_refused_with_the_servers_sentence(access: FakeAccess) -> None:
    async with Client(access.ws, token="ann") as ann:
        sent = await ann.send("bob", "one")
        with pytest.raises(NotFound):
            await ann.recall("bob", 99)
        await ann.recall("bob", sent.seq)
        again = await ann.recall("bob", sent.seq)
        assert (again.seq, again.state is not None) == (0, True)
        with pytest.raises(Forbidden, match="recalled"):
            await ann.edit("bob", sent.seq, "two")
        with pytest.raises(BadRequest, match="empty"):
            await ann.edit("bob", sent.seq, "")


async def test_a_change_is_tried_again_with_the_same_client_id(access: FakeAccess, server: ModelServer) -> None:
    tries: list[str] = []

    def refuse(_session: object, frame: pb.ClientFrame) -> pb.ServerFrame | None:
        if not frame.HasField("change"):
            return None
        tries.append(frame.change.client_id)
        if len(tries) == 1:
            return pb.ServerFrame(error=pb.Error(code="UNAVAILABLE", message="later", retry_after_ms=10))
        if len(tries) == 2:
            access.cut()
            return pb.ServerFrame()
        return None

    server.refuse = refuse
    async with Client(access.ws, token="ann") as ann:
        sent = await ann.send("bob", "one")
        edited = await ann.edit("bob", sent.seq, "two")
    assert len(tries) >= 3
    assert len(set(tries)) == 1
    assert (edited.seq, server.rooms[CHAT].head) == (2, 2)


async def test_reactions_that_are_announced_later_are_told_then(access: FakeAccess, server: ModelServer) -> None:
    server.changes.gathering = True
    async with Client(access.ws, token="ann") as ann, Client(access.ws, token="bob") as bob:
        sent = await ann.send("bob", "one")
        reacted = await bob.react("ann", sent.seq, "👍")
        assert reacted.seq == 0
        assert reacted.state is not None
        assert reacted.state.reactions[0].count == 1
        server.changes.announce()
        change = await the_next(bob, MessageChanged)
        assert change.message is not None
        assert change.message.reactions[0].mine


async def test_what_has_expired_is_told_and_has_no_content(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="bob") as bob:
        server.post("ann", CHAT, pb.Content(text="for a moment", expire_after_s=1))
        message = await the_next(bob, Message)
        assert message.expires_ms > message.time_ms
        expired = (await the_next(bob, Expired)).message
        assert (expired.seq, expired.text, expired.state.recalled_by) == (1, "", "~expiry")


async def test_what_one_device_hides_the_others_are_told(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="bob", device="phone") as phone, Client(access.ws, token="bob") as laptop:
        for number in range(3):
            server.text("ann", CHAT, f"{number}")
        await laptop.hide("ann", [3], through=1)
        assert await the_next(phone, Hidden) == Hidden(CHAT, (3,), 1)
        (listed,) = await phone.conversations()
        assert listed.last is not None
        assert (listed.last.text, listed.unread) == ("1", 1)


async def test_unread_and_mentions_are_what_the_server_counts(access: FakeAccess, server: ModelServer) -> None:
    async with Client(access.ws, token="bob") as bob:
        server.text("ann", CHAT, "one")
        server.post("ann", CHAT, pb.Content(text="@bob", mentions=["bob"]))
        server.changes.change("ann", pb.Change(client_id="p", conversation=CHAT, seq=1, pin=True))
        (listed,) = await bob.conversations()
        assert (listed.unread, listed.mentions, listed.first_mention_seq, listed.head) == (2, 1, 2, 3)


async def test_a_message_may_be_media_alone(access: FakeAccess) -> None:
    photo = Media("m1", "image/png", "cat.png", 1234, 64, 48, preview=b"\x01")
    async with Client(access.ws, token="ann") as ann, Client(access.ws, token="bob") as bob:
        await ann.send("bob", media=[photo])
        message = await the_next(bob, Message)
        assert (message.media, message.text) == ((photo,), "")
        assert Message.from_proto(message.to_proto()) == message
