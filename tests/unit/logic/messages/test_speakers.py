"""What all messages of a user to a conversation have in common, and messages made from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.logic.messages.speakers import REMEMBERED, body_of, speaker_of
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden
from tidings_protocol.ids import message_id
from tidings_protocol.wire.body import read_message

names = st.text("abcXYZ019._-@:", min_size=1, max_size=64)


@given(
    names,
    names,
    st.booleans(),
    st.integers(1, 2**63 - 1),
    st.integers(0, 2**62),
    st.text(min_size=1, max_size=64),
    st.binary(max_size=5000),
)
def test_a_message_means_what_protobuf_would_have_written(
    one: str, other: str, grouped: bool, seq: int, time_ms: int, client_id: str, data: bytes
) -> None:
    conversation = f"g:{other}" if grouped else "d:{}|{}".format(*sorted((one, other)))
    content = client_pb2.Content(data=data).SerializeToString()
    made = body_of(speaker_of(conversation, one), conversation, seq, time_ms, client_id, content, seq)
    expected = client_pb2.Message(
        conversation=conversation,
        seq=seq,
        message_id=message_id(conversation, seq),
        sender=one,
        time_ms=time_ms,
        content=client_pb2.Content(data=data),
        kind=client_pb2.Message.NORMAL,
        client_id=client_id,
        ordinal=seq,
    )
    assert client_pb2.Message.FromString(made) == expected


def test_what_cannot_be_read_of_a_content_leaves_the_rest_readable() -> None:
    made = body_of(speaker_of("d:amy|bob", "amy"), "d:amy|bob", 3, 77, "c", b"\xff\xff", 3)
    message = client_pb2.Message()
    assert not read_message(made, message)
    assert (message.conversation, message.sender, message.seq, message.client_id) == ("d:amy|bob", "amy", 3, "c")


def test_of_a_direct_chat_the_two_are_remembered() -> None:
    assert speaker_of("d:amy|bob", "bob")[1:] == (("amy", "bob"), 1)
    assert speaker_of("d:amy|amy", "amy")[1:] == (("amy",), 0)
    assert speaker_of("g:x", "amy")[1:] == ((), 0)


def test_who_may_not_write_there_is_no_speaker() -> None:
    for _ in range(2):
        with pytest.raises(Forbidden):
            speaker_of("d:amy|bob", "eve")
        with pytest.raises(BadRequest):
            speaker_of("d:amy", "amy")


def test_no_more_are_remembered_than_that() -> None:
    assert speaker_of.cache_info().maxsize == REMEMBERED
