"""Frames of a later version of the protocol: what this library does not know, it passes over."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from tests.support.cluster.fake_access import FakeAccess
from tests.support.cluster.model_server import ModelServer
from tidings import ChangeAct, Client, Event, Message, MessageChanged
from tidings.model import MEMBERSHIP_MIME, SHOWN, Conversation, HistoryPage, InboxPage
from tidings_protocol import client_pb2 as pb
from tidings_protocol.kinds import KINDS
from tidings_protocol.wire.varint import varint

PATIENCE_S = 10.0
LAST = "the last one"
NEW_FIELD = 900
ROOM = "g:1"


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited field, as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(data)) + data


NEW = _field(NEW_FIELD, b"of a later version")


def _delivered(number: int, *messages: pb.Message, kind: str = "", extra: dict[str, Any] | None = None) -> Any:
    """The two forms of a push of these messages, with fields that are not known in everything."""
    entries, shown = b"", []
    for index, message in enumerate(messages):
        data = message.SerializeToString() + NEW
        entries += _field(1, varint(1 << 3) + varint(number + index) + _field(2, data) + NEW)
        content: dict[str, Any] = {"poll": {"question": "tea?"}, **(extra or {})}
        if message.content.text:
            content["text"] = message.content.text
        if message.content.data:
            content["data"] = base64.b64encode(message.content.data).decode()
            content["mime"] = message.content.mime
        told = {
            "conversation": message.conversation,
            "seq": str(message.seq),
            "sender": message.sender,
            "kind": kind or pb.Message.Kind.Name(message.kind),
            "content": content,
            "novelty": [{"a": 1}, None],
        }
        shown.append({"number": str(number + index), "message": told, "novelty": {"b": "c"}})
    return _field(13, entries + NEW) + NEW, json.dumps({"deliver": {"entries": shown, "n": 1}, "novelty": 2})


def _message(seq: int, text: str, kind: int = pb.Message.NORMAL, data: bytes = b"", mime: str = "") -> pb.Message:
    content = pb.Content(data=data, mime=mime) if data else pb.Content(text=text)
    message = pb.Message(conversation=ROOM, seq=seq, sender="ann", content=content)
    message.kind = kind  # type: ignore[assignment]
    return message


async def _take(client: Client) -> list[Event]:
    """Everything up to the last message."""
    taken: list[Event] = []
    async for event in client.events():
        taken.append(event)
        if isinstance(event, Message) and event.text == LAST:
            return taken
    raise AssertionError("the events ended")


@pytest.mark.parametrize("codec", ["proto", "json"])
async def test_kinds_acts_bodies_and_fields_that_are_not_known_are_passed_over(
    access: FakeAccess, server: ModelServer, codec: str
) -> None:
    acts = [b'{"act": "merge", "by": 7, "users": 3, "role": [1]}', b'{"act": "add", "users": {"a": 1}}', b"[1]", b"{"]
    async with asyncio.timeout(PATIENCE_S), Client(access.ws, token="bob", codec=codec) as bob:
        for frame in (
            (_field(NEW_FIELD, b"\x08\x01"), '{"hologram": {"a": 1}}'),
            (varint(8) + varint(77) + _field(NEW_FIELD, b""), '{"id": "77", "hologram": {}}'),
            _delivered(1, _message(1, "known")),
            _delivered(2, _message(2, "a poll", kind=9), kind="POLL"),
            _delivered(3, _message(3, "nothing said of its kind", kind=0), kind="KIND_UNSPECIFIED"),
            *(
                _delivered(4 + index, _message(4 + index, "", pb.Message.SYSTEM, act, MEMBERSHIP_MIME))
                for index, act in enumerate(acts)
            ),
            _delivered(8, _message(8, LAST)),
        ):
            access.say_bytes(proto=frame[0], json=frame[1])
        messages = [event for event in await _take(bob) if isinstance(event, Message)]
        assert [(message.seq, message.text) for message in messages if not message.system] == [(1, "known"), (8, LAST)]
        told = [message.membership for message in messages if message.system]
        assert [membership.act for membership in told if membership] == ["merge", "add"]
        assert len(access.hellos) == 1  # none of it broke the connection
        # What was passed over counts as held.
        server.inboxes["bob"] = [(ROOM, seq) for seq in range(1, 9)]
        access.cut()
        async for _event in bob.events():
            if len(access.hellos) == 2:
                break
        assert access.hellos[-1].cursor == 8


@pytest.mark.parametrize("codec", ["proto", "json"])
async def test_changes_of_a_later_version_and_what_is_hidden_count_as_held(
    access: FakeAccess, server: ModelServer, codec: str
) -> None:
    known = pb.Message(
        conversation=ROOM,
        seq=4,
        sender="ann",
        kind=pb.Message.CHANGE,
        change=pb.Change(seq=1, pin=True),
        state=pb.State(revision=4, pinned=True),
    )
    new_act = pb.Message(conversation=ROOM, seq=2, sender="ann", kind=pb.Message.CHANGE, change=pb.Change(seq=1))
    told = {
        "conversation": ROOM,
        "seq": "2",
        "sender": "ann",
        "kind": "CHANGE",
        "change": {"seq": "1", "translate": {"to": "de"}},
        "state": {"revision": "2", "translated": True},
    }
    act = new_act.SerializeToString() + _field(9, pb.Change(seq=1).SerializeToString() + NEW) + _field(10, NEW)
    entry = _field(1, varint(1 << 3) + varint(2) + _field(2, act))
    async with asyncio.timeout(PATIENCE_S), Client(access.ws, token="bob", codec=codec) as bob:
        for frame in (
            _delivered(1, _message(1, "known")),
            (_field(13, entry), json.dumps({"deliver": {"entries": [{"number": "2", "message": told}]}})),
        ):
            access.say_bytes(proto=frame[0], json=frame[1])
        for number, message in ((3, pb.Message(conversation=ROOM, seq=3)), (4, known), (5, _message(5, LAST))):
            access.say(pb.ServerFrame(deliver=pb.Deliver(entries=[pb.Entry(number=number, message=message)])))
        (change,) = [event for event in await _take(bob) if isinstance(event, MessageChanged)]
        assert (change.act, change.change_seq) == (ChangeAct.PIN, 4)
        assert change.message is not None
        assert change.message.text == "known"
        assert len(access.hellos) == 1
        assert access.hellos[0].protocol == 11


def test_pages_and_lists_leave_out_what_is_not_known() -> None:
    entries = [
        pb.Entry(number=1, message=_message(1, "known")),
        pb.Entry(number=2, message=_message(2, "a poll", kind=9)),
        pb.Entry(number=3, message=pb.Message(conversation=ROOM, seq=3)),
    ]
    page = pb.Page(entries=entries, next=3, head=3)
    assert [message.seq for message in HistoryPage.from_proto(page).messages] == [1]
    assert [number for number, _ in InboxPage.from_proto(page).entries] == [1]
    listed = pb.Conversation(conversation=ROOM, head=2, last=_message(2, "a poll", kind=9))
    assert Conversation.from_proto(listed).last is None


def test_only_kinds_that_the_table_has_and_that_are_messages_of_their_own_are_shown() -> None:
    for number in range(20):
        page = pb.Page(entries=[pb.Entry(number=1, message=_message(1, "text", kind=number))], next=1, head=1)
        known = [kind for kind in KINDS.values() if kind.number == number]
        assert bool(HistoryPage.from_proto(page).messages) == any(kind.shown for kind in known) == (number in SHOWN)
