"""Whether what the door takes can be carried: by every codec, page, list, event and hook.

The door is an access node's: a frame is decoded, and its content encoded to be stored. Whatever it lets in lies deeper
later than it did when it came, so it is put there and read again, as clients, consumers and hooks read it.
"""

from __future__ import annotations

import json
from contextlib import suppress

from google.protobuf import json_format

from protos.tidings.internal.v1 import delivery_pb2
from protos.tidings.v1 import events_pb2
from services.logic.groups.model import GroupAct
from services.logic.groups.notices import content_of
from tidings_protocol import client_pb2
from tidings_protocol.content import check_part, check_signal, encode_content
from tidings_protocol.errors import TidingsError
from tidings_protocol.wire.body import EncodedBody, message_bytes, read_message
from tidings_protocol.wire.codec import JSON, PROTO

CONTENT_BYTES_MAX = 4096


def check_frame(frame: client_pb2.ClientFrame) -> None:
    """All of a frame that becomes part of another one is carried, or is refused at the door."""
    with suppress(TidingsError):
        match frame.WhichOneof("body"):
            case "send":
                check_content(encode_content(frame.send.content, CONTENT_BYTES_MAX))
            case "signal":
                check_signal(frame.signal.name, frame.signal.data)
                _check_signal(client_pb2.Signal(name=frame.signal.name, data=frame.signal.data))
            case "stream_part":
                check_part(frame.stream_part, CONTENT_BYTES_MAX)
                for codec in (PROTO, JSON):
                    pushed = client_pb2.StreamPart(seq=1, part=1, text=frame.stream_part.text)
                    assert codec.decode_server(codec.push(EncodedBody.of(pushed))).stream_part == pushed
            case "group":
                check_content(content_of(GroupAct("rename", "ann", name=frame.group.rename.name)))
                check_content(content_of(GroupAct("create", "ann", name=frame.group.create.name)))
            case _:
                pass


def check_content(content: bytes) -> None:
    """A stored content comes out of all of them as it was stored."""
    body = message_bytes(
        conversation="d:ann|bob",
        seq=7,
        message_id="m",
        sender="ann",
        time_ms=1,
        content=content,
        kind=1,
        client_id="c",
        ordinal=7,
    )
    stored = client_pb2.Message()
    assert read_message(body, stored)
    assert stored.content.SerializeToString(deterministic=True) == _same(content)
    frames = (
        client_pb2.ServerFrame(id=1, page=client_pb2.Page(entries=[client_pb2.Entry(number=3, message=stored)])),
        client_pb2.ServerFrame(
            id=1,
            conversation_page=client_pb2.ConversationPage(conversations=[client_pb2.Conversation(last=stored)]),
        ),
    )
    for codec in (PROTO, JSON):
        deliver = codec.decode_server(codec.deliver([(3, EncodedBody(client_pb2.Message, body))])).deliver
        assert [entry.message for entry in deliver.entries] == [stored]
        for frame in frames:
            value = client_pb2.ServerFrame.FromString(frame.SerializeToString())
            value.ClearField("id")
            assert codec.decode_server(codec.reply(1, value.SerializeToString())) == frame
    event = events_pb2.Event(conversation="d:ann|bob", message=stored, recipients=["ann", "bob"])
    assert events_pb2.Event.FromString(event.SerializeToString()).message == stored
    push = delivery_pb2.Push(kind=delivery_pb2.Push.MESSAGE, body=body)
    assert delivery_pb2.Push.FromString(push.SerializeToString()) == push
    shown = json.loads(json.dumps(json_format.MessageToDict(stored.content), ensure_ascii=False).encode())
    assert json_format.ParseDict(shown, client_pb2.Content()) == stored.content


def _check_signal(signal: client_pb2.Signal) -> None:
    for codec in (PROTO, JSON):
        assert codec.decode_server(codec.push(EncodedBody.of(signal))).signal == signal


def _same(content: bytes) -> bytes:
    return client_pb2.Content.FromString(content).SerializeToString(deterministic=True)
