"""What can go wrong, as exceptions of one tree: `except TidingsError` catches everything this library raises.

Refusals of the server keep the names of the wire (Forbidden, NotFound, RateLimited …) and its sentence. What the
library itself finds is below:

    NotConnected     no server was reached in time; nothing was sent
    NoAnswer         it was sent, but no answer came in time: it may have been done (a message: repeat it with the
                     same client id and it cannot be stored twice)
    Busy             too much is waiting to be sent already; nothing was sent
    ClientClosed     the client was closed, or never entered
    SessionEnded     the server ended the session and does not want it back as it is
      TokenRefused     the token is wrong, or ran out
      Replaced         the same device logged in elsewhere
      Kicked           an operator ended the session; one may log in again
      ClientRefused    this client is not welcome, or does not speak the protocol
      Banned           the operator keeps this user out
    PartMissing      the server lacks a part of a stream (`next_part`); streams see to it by themselves
"""

# they stand beside the names of the wire, which have no "Error" either

from __future__ import annotations

from tidings_protocol.errors import (
    BadFrame,
    BadRequest,
    Conflict,
    Forbidden,
    Internal,
    NotFound,
    Overloaded,
    RateLimited,
    TidingsError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

__all__ = [
    "BadFrame",
    "BadRequest",
    "Banned",
    "Busy",
    "ClientClosed",
    "ClientRefused",
    "Conflict",
    "Forbidden",
    "Internal",
    "Kicked",
    "NoAnswer",
    "NotConnected",
    "NotFound",
    "Overloaded",
    "PartMissing",
    "RateLimited",
    "Replaced",
    "SessionEnded",
    "TidingsError",
    "TokenRefused",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "session_ended",
]


class NotConnected(Unavailable):
    """No server could be reached in time; nothing was sent."""


class NoAnswer(Unavailable):
    """It was sent and no answer came in time: it may have been done."""


class Busy(Overloaded):
    """The client's own outbox is full; nothing was sent."""


class PartMissing(BadRequest):
    """The server wants another part of a stream next."""

    def __init__(self, message: str, next_part: int) -> None:
        super().__init__(message, next_part=next_part)


class ClientClosed(TidingsError):
    """The client is not open (any more)."""

    code = "CLOSED"


class SessionEnded(TidingsError):
    """The server ended the session for good; `close_code` is its reason (4500 to 4999)."""

    code = "SESSION_ENDED"

    def __init__(self, message: str, close_code: int) -> None:
        super().__init__(message)
        self.close_code = close_code


class TokenRefused(SessionEnded):
    """The token is wrong (4500) or ran out (4506)."""


class Replaced(SessionEnded):
    """The same device logged in again elsewhere (4501)."""


class Kicked(SessionEnded):
    """An operator ended the session (4502); logging in again is allowed."""


class ClientRefused(SessionEnded):
    """What this client sent, or the client itself, is refused (4503, 4504, 4507)."""


class Banned(SessionEnded):
    """The operator keeps this user out (4508)."""


def session_ended(close_code: int, message: str) -> SessionEnded:
    """The error for a goodbye of 4500 to 4999."""
    match close_code:
        case 4500 | 4506:
            return TokenRefused(message, close_code)
        case 4501:
            return Replaced(message, close_code)
        case 4502:
            return Kicked(message, close_code)
        case 4508:
            return Banned(message, close_code)
        case _:
            return ClientRefused(message, close_code)
