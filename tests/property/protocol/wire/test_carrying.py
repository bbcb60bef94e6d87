"""Whatever the door takes, every codec, page, list, event and hook can carry."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from tests.property.protocol.wire.frames import messages
from tests.support.network.carrying import CONTENT_BYTES_MAX, check_content, check_frame
from tidings_protocol import client_pb2
from tidings_protocol.content import encode_content, stored_content
from tidings_protocol.errors import Unparsable
from tidings_protocol.wire.body import message_bytes, read_message
from tidings_protocol.wire.codec import JSON, PROTO
from tidings_protocol.wire.varint import varint

FIELDS = st.integers(9, 40)


@st.composite
def unknown(draw: st.DrawFn) -> bytes:
    """A field of no version: a number, bytes, or groups in one another, up to as deep as anybody reads."""
    field = draw(FIELDS)
    match draw(st.sampled_from(["number", "bytes", "groups"])):
        case "number":
            return varint(field << 3) + varint(draw(st.integers(0, 2**64 - 1)))
        case "bytes":
            data = draw(st.binary(max_size=40))
            return varint(field << 3 | 2) + varint(len(data)) + data
        case _:
            levels = draw(st.one_of(st.integers(1, 101), st.sampled_from([95, 96, 97, 98, 99])))
            return varint(field << 3 | 3) * levels + varint(field << 3 | 4) * levels


def frame_with(content: bytes) -> bytes:
    """A send with these bytes as its content."""
    send = client_pb2.Send(client_id="c", user="bob").SerializeToString() + b"\x22" + varint(len(content)) + content
    return b"\x62" + varint(len(send)) + send


@given(content=messages(client_pb2.Content), extra=st.lists(unknown(), max_size=3))
def test_what_a_protobuf_client_brings_in_is_carried(content: client_pb2.Content, extra: list[bytes]) -> None:
    try:
        frame = PROTO.decode_client(frame_with(content.SerializeToString() + b"".join(extra)))
    except Unparsable:
        return
    assert frame.send.client_id == "c"
    check_frame(frame)


@given(frame=messages(client_pb2.ClientFrame))
def test_what_any_frame_brings_in_is_carried(frame: client_pb2.ClientFrame) -> None:
    for codec in (PROTO, JSON):
        if frame.WhichOneof("body"):
            check_frame(codec.decode_client(codec.encode_client(frame)))


@pytest.mark.parametrize("levels", [1, 90, 96, 97, 98])
def test_groups_as_deep_as_a_frame_can_be_read_are_left_out(levels: int) -> None:
    groups = b"\x7b" * levels + b"\x7c" * levels
    send = PROTO.decode_client(frame_with(b"\x0a\x02hi" + groups)).send
    encoded = encode_content(send.content, CONTENT_BYTES_MAX)
    assert encoded == b"\x0a\x02hi"
    check_content(encoded)


def test_nothing_that_is_stored_holds_its_own_kind() -> None:
    """Or it could be nested as deeply by fields that are known."""

    def walk(kind: Descriptor, above: tuple[str, ...]) -> None:
        assert kind.full_name not in above
        for field in kind.fields:
            if field.message_type is not None:
                walk(field.message_type, (*above, kind.full_name))

    walk(client_pb2.Content.DESCRIPTOR, ())


@given(content=messages(client_pb2.Content), extra=st.lists(unknown(), max_size=3), noise=st.binary(max_size=6))
def test_what_another_version_stored_is_shown_or_stands_as_a_placeholder(
    content: client_pb2.Content, extra: list[bytes], noise: bytes
) -> None:
    encoded = content.SerializeToString() + b"".join(extra) + noise
    body = message_bytes(
        conversation="g:x",
        seq=8,
        message_id="m",
        sender="ann",
        time_ms=1,
        content=encoded,
        kind=1,
        client_id="c",
        ordinal=8,
    )
    page = client_pb2.ServerFrame()
    message = page.page.entries.add(number=3).message
    readable = read_message(body, message)
    assert (message.conversation, message.seq, message.sender) == ("g:x", 8, "ann")
    assert readable or not message.HasField("content")
    for codec in (PROTO, JSON):
        assert codec.decode_server(codec.encode_server(page)) == page
    check_content(stored_content(encoded))


@given(data=st.binary(max_size=60))
def test_bytes_that_are_no_message_are_a_placeholder_too(data: bytes) -> None:
    message = client_pb2.Message(seq=1)
    try:
        client_pb2.Message.FromString(data)
    except DecodeError:
        assert not read_message(data, message)
        assert not message.HasField("content")
    else:
        assert read_message(data, message)
