"""Who writes where, remembered: what all messages of one user to one conversation have in common.

Guarantees: pure, and bounded: the REMEMBERED pairs of conversation and user that were used last are kept, about 600
bytes each. What `body_of` gives means what `message_bytes` would have written.

Does not know: groups, whose members change (row_plan.py).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from services.logic.groups.permissions import check_send
from services.logic.groups.recipients import fanout_of
from tidings_protocol.ids import message_id
from tidings_protocol.kinds import NORMAL
from tidings_protocol.wire.message import head_of, message_from

REMEMBERED: Final = 32_768


class Speaker(NamedTuple):
    """A user in a conversation. `head`: of each of their messages there.

    `recipients`: of a direct chat, with the user at `own`; of others none.
    """

    head: bytes
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
    head = head_of(conversation, user, NORMAL.number)
    return Speaker(head, recipients, recipients.index(user) if recipients else 0)


def body_of(
    speaker: Speaker, conversation: str, seq: int, time_ms: int, client_id: str, content: bytes, ordinal: int
) -> bytes:
    """An encoded tidings.v1.Message of this user; `content` is an encoded Content, which comes last."""
    return message_from(speaker.head, message_id(conversation, seq), seq, time_ms, client_id, content, ordinal)
