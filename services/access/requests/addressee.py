"""The conversation that a request goes to: checked, and where it belongs.

Who writes to whom is asked for every frame and seldom new: `REMEMBERED_MAX` answers are remembered, the ones that were
asked for last.

Does not know: who may speak there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from tidings_protocol import client_pb2, ids
from tidings_protocol.errors import BadRequest

# Each takes 0.4 KiB.
REMEMBERED_MAX: Final = 16384


class Addressee(NamedTuple):
    """A conversation whose name is right, and the slot that it is in."""

    conversation: str
    slot: int


def addressee(user: str, request: client_pb2.Send | client_pb2.Signal) -> Addressee:
    """Where a send or signal of this user goes. Raises BadRequest."""
    match request.WhichOneof("to"):
        case "user":
            return _direct(user, request.user)
        case "conversation":
            return _named(request.conversation)
        case _:
            raise BadRequest(
                f"`{request.DESCRIPTOR.name.lower()}` goes to nobody: give it a `user` for a direct chat, or a "
                "`conversation`"
            )


def place_of(conversation: str) -> Addressee:
    """Where a request goes that names a conversation. Raises BadRequest."""
    return _named(conversation)


@lru_cache(maxsize=REMEMBERED_MAX)
def _direct(user: str, other: str) -> Addressee:
    return _placed(ids.direct(user, ids.check_user(other)))


@lru_cache(maxsize=REMEMBERED_MAX)
def _named(conversation: str) -> Addressee:
    ids.check_conversation(conversation)
    return _placed(conversation)


def _placed(conversation: str) -> Addressee:
    return Addressee(conversation, ids.slot_of(conversation))
