"""Encoded messages, joined from their parts: what a sender's messages to one conversation have in common is remembered.

Guarantees: pure, and bounded: the REMEMBERED heads that were used last are kept, about 400 bytes each. What
`message_from` gives means what protobuf would have written, with the content embedded as it is.

Does not know: who gets a message.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from tidings_protocol import client_pb2
from tidings_protocol.wire.varint import length_delimited_tag, varint, varint_tag

REMEMBERED: Final = 32_768
CONTENT_TAG: Final = length_delimited_tag(client_pb2.Message, "content")
_ID_TAG: Final = length_delimited_tag(client_pb2.Message, "message_id")
_SEQ_TAG: Final = varint_tag(client_pb2.Message, "seq")
_CLIENT_ID_TAG: Final = length_delimited_tag(client_pb2.Message, "client_id")
_ORDINAL_TAG: Final = varint_tag(client_pb2.Message, "ordinal")


@lru_cache(maxsize=REMEMBERED)
def head_of(conversation: str, sender: str, kind: int) -> bytes:
    """The fields that are the same in all messages of this kind by this sender to this conversation."""
    return client_pb2.Message(
        conversation=conversation,
        sender=sender,
        kind=kind,  # type: ignore[arg-type]  # the number comes from a stored Message.Kind
    ).SerializeToString()


def message_from(
    head: bytes, message_id: str, seq: int, time_ms: int, client_id: str, content: bytes, ordinal: int
) -> bytes:
    """An encoded tidings.v1.Message with this head; `content` is an encoded Content, which comes last."""
    identity, client, number = message_id.encode(), client_id.encode(), varint(seq)
    return b"".join(
        (
            _ID_TAG,
            varint(len(identity)),
            identity,
            head,
            _SEQ_TAG,
            number,
            _time(time_ms),
            _ORDINAL_TAG,
            number if ordinal == seq else varint(ordinal),
            _CLIENT_ID_TAG,
            varint(len(client)),
            client,
            CONTENT_TAG,
            varint(len(content)),
            content,
        )
    )


@lru_cache(maxsize=64)
def _time(time_ms: int) -> bytes:
    """The field of the time; messages that were stored together have the same."""
    return client_pb2.Message(time_ms=time_ms).SerializeToString()
