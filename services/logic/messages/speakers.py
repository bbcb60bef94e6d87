"""Who writes where, remembered: what all messages of one user to one conversation have in common.

Guarantees: pure, and bounded: the REMEMBERED pairs of conversation and user that were used last are kept, about 600
bytes each. `Speaker.body` means what `message_bytes` would have written.

Does not know: groups, whose members change (row_plan.py).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from services.logic.groups.permissions import check_send
from services.logic.groups.recipients import fanout_of
from tidings_protocol import client_pb2
from tidings_protocol.ids import message_id
from tidings_protocol.wire.varint import length_delimited_tag, varint, varint_tag

REMEMBERED: Final = 32_768
_ID_TAG: Final = length_delimited_tag(client_pb2.Message, "message_id") + varint(24)
_SEQ_TAG: Final = varint_tag(client_pb2.Message, "seq")
_CLIENT_ID_TAG: Final = length_delimited_tag(client_pb2.Message, "client_id")
_CONTENT_TAG: Final = length_delimited_tag(client_pb2.Message, "content")


class Speaker(NamedTuple):
    """A user in a conversation. `fixed`: the fields of a message that are always the same, encoded.

    `recipients`: of a direct chat, with the user at `own`; of others none.
    """

    fixed: bytes
    recipients: tuple[str, ...]
    own: int


@lru_cache(maxsize=REMEMBERED)
def speaker_of(conversation: str, user: str) -> Speaker:
    """The user as one who writes there; in a direct chat only if it is theirs.

    Raises the TidingsError that a message of theirs would get there.
    """
    recipients: tuple[str, ...] = ()
    if conversation.startswith("d:"):
        check_send(conversation, user, None)
        recipients = fanout_of(conversation, None).recipients
    fixed = client_pb2.Message(conversation=conversation, sender=user, kind=client_pb2.Message.NORMAL)
    return Speaker(fixed.SerializeToString(), recipients, recipients.index(user) if recipients else 0)


def body_of(speaker: Speaker, conversation: str, seq: int, time_ms: int, client_id: str, content: bytes) -> bytes:
    """An encoded tidings.v1.Message of this user; `content` is an encoded Content, which comes last."""
    client = client_id.encode()
    return b"".join(
        (
            _ID_TAG,
            message_id(conversation, seq).encode(),
            speaker.fixed,
            _SEQ_TAG,
            varint(seq),
            _time(time_ms),
            _CLIENT_ID_TAG,
            varint(len(client)),
            client,
            _CONTENT_TAG,
            varint(len(content)),
            content,
        )
    )


@lru_cache(maxsize=64)
def _time(time_ms: int) -> bytes:
    """The field of the time; a batch has few different ones."""
    return client_pb2.Message(time_ms=time_ms).SerializeToString()
