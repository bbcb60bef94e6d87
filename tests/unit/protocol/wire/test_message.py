"""Messages joined from parts, against what protobuf writes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidings_protocol import client_pb2
from tidings_protocol.wire.message import REMEMBERED, head_of, message_from

texts = st.text(max_size=300)


@given(texts, texts, texts, texts, st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1), st.integers(0, 200))
def test_a_message_from_parts_is_the_one_that_protobuf_writes(
    conversation: str, sender: str, message_id: str, client_id: str, seq: int, time_ms: int, kind: int
) -> None:
    content = client_pb2.Content(text="hello", data=b"x" * 200)
    made = message_from(
        head_of(conversation, sender, kind), message_id, seq, time_ms, client_id, content.SerializeToString(), 7
    )
    expected = client_pb2.Message(
        message_id=message_id,
        conversation=conversation,
        seq=seq,
        sender=sender,
        time_ms=time_ms,
        content=content,
        kind=kind,  # type: ignore[arg-type]
        client_id=client_id,
        ordinal=7,
    )
    assert client_pb2.Message.FromString(made) == expected
    assert made.endswith(content.SerializeToString())


def test_a_head_is_remembered_and_no_more_of_them_than_that() -> None:
    assert head_of("g:1", "ann", 1) is head_of("g:1", "ann", 1)
    assert head_of("g:1", "ann", 1) != head_of("g:1", "ann", 2)
    assert head_of.cache_info().maxsize == REMEMBERED
