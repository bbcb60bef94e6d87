"""What is put together by concatenation means the same as what the protobuf library would have made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from tests.property.protocol.wire.frames import SCALARS, SERVER_FRAMES, TEXTS, messages, same
from tests.support.network.codecs import ALL
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadFrame
from tidings_protocol.wire.body import SERVER_BODIES, EncodedBody, message_bytes
from tidings_protocol.wire.codec import PROTO, Codec
from tidings_protocol.wire.varint import varint

MESSAGES = messages(client_pb2.Message)
NUMBERS = st.one_of(st.just(0), st.integers(0, 2**64 - 1))
IDS = st.one_of(st.just(0), st.integers(0, 2**64 - 1))
EACH = pytest.mark.parametrize("codec", ALL.values(), ids=ALL)


@EACH
@given(entries=st.lists(st.tuples(NUMBERS, MESSAGES), max_size=4))
def test_deliver_is_the_frame_with_these_entries(codec: Codec, entries: list[tuple[int, client_pb2.Message]]) -> None:
    expected = client_pb2.ServerFrame(
        deliver=client_pb2.Deliver(
            entries=[client_pb2.Entry(number=number, message=message) for number, message in entries]
        )
    )

    encoded = codec.deliver([(number, EncodedBody.of(message)) for number, message in entries])

    assert same(codec.decode_server(encoded), expected)
    if not codec.binary:
        assert json.loads(encoded) == json_format.MessageToDict(expected)


@EACH
@given(data=st.data())
def test_push_is_the_frame_with_this_body_whatever_its_type(codec: Codec, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(SERVER_BODIES, key=lambda kind: kind.__name__)))
    body: Message = data.draw(messages(kind))
    expected = client_pb2.ServerFrame()
    field = getattr(expected, SERVER_BODIES[kind].name)
    field.CopyFrom(body)
    field.SetInParent()

    assert same(codec.decode_server(codec.push(EncodedBody.of(body))), expected)


@EACH
@given(request_id=IDS, frame=SERVER_FRAMES)
def test_reply_is_the_same_frame_with_the_id_of_the_request(
    codec: Codec, request_id: int, frame: client_pb2.ServerFrame
) -> None:
    frame.id = 0
    expected = client_pb2.ServerFrame()
    expected.CopyFrom(frame)
    expected.id = request_id

    assert same(codec.decode_server(codec.reply(request_id, frame.SerializeToString())), expected)


def _state_of(sent: client_pb2.Sent) -> bytes | None:
    return sent.state.SerializeToString() if sent.HasField("state") else None


@EACH
@given(request_id=IDS, sent=messages(client_pb2.Sent))
def test_sent_is_the_frame_with_these_fields(codec: Codec, request_id: int, sent: client_pb2.Sent) -> None:
    encoded = codec.sent(
        request_id,
        client_id=sent.client_id,
        message_id=sent.message_id,
        conversation=sent.conversation,
        seq=sent.seq,
        time_ms=sent.time_ms,
        duplicate=sent.duplicate,
        number=sent.number,
        state=_state_of(sent),
    )

    assert same(codec.decode_server(encoded), client_pb2.ServerFrame(id=request_id, sent=sent))


@given(st.lists(st.tuples(IDS, messages(client_pb2.Sent)), max_size=3))
def test_answers_in_protobuf_are_byte_for_byte_what_frames_of_their_own_would_be(
    answers: list[tuple[int, client_pb2.Sent]],
) -> None:
    for request_id, sent in answers:
        names = (field.name for field in client_pb2.Sent.DESCRIPTOR.fields if field.name != "state")
        fields = {name: getattr(sent, name) for name in names}
        expected = client_pb2.ServerFrame(id=request_id, sent=client_pb2.Sent(**fields))
        if sent.HasField("state"):
            expected.sent.state.MergeFromString(sent.state.SerializeToString())
        assert PROTO.sent(request_id, **fields, state=_state_of(sent)) == expected.SerializeToString()


@given(
    content=messages(client_pb2.Content),
    message=st.fixed_dictionaries(dict.fromkeys(("conversation", "message_id", "sender", "client_id"), TEXTS)),
    seq=NUMBERS,
    time_ms=SCALARS[3],
    kind=st.integers(0, 3),
    ordinal=NUMBERS,
)
def test_message_bytes_are_the_message_with_its_content(
    content: client_pb2.Content, message: dict[str, str], seq: int, time_ms: int, kind: int, ordinal: int
) -> None:
    fields: dict[str, Any] = {**message, "seq": seq, "time_ms": time_ms, "kind": kind, "ordinal": ordinal}
    expected = client_pb2.Message(**fields, content=content)

    encoded = message_bytes(**fields, content=content.SerializeToString())

    assert same(client_pb2.Message.FromString(encoded), expected)


@given(NUMBERS)
def test_a_varint_is_what_protobuf_writes(number: int) -> None:
    assert b"\x08" + varint(number) == client_pb2.Ack(number=number).SerializeToString() or number == 0


@given(SERVER_FRAMES)
def test_protobuf_frames_come_back_as_they_went(frame: client_pb2.ServerFrame) -> None:
    assert same(PROTO.decode_server(PROTO.encode_server(frame)), frame)


@given(st.binary(max_size=64))
def test_any_bytes_give_a_frame_or_a_refusal_of_the_protocol(data: bytes) -> None:
    for codec in ALL.values():
        try:
            frame = codec.decode_client(data)
        except BadFrame:
            continue
        assert frame.WhichOneof("body") is not None
