"""How a connection ends: the goodbye codes, which are the WebSocket close codes too.

Guarantees: the table is that of the protocol; 4000 to 4499 mean "connect again", 4500 to 4999 "not by itself with
the same token".

Does not know: transports, retry times of a particular case, addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tidings_protocol import client_pb2
from tidings_protocol.errors import (
    BadFrame,
    BadRequest,
    Internal,
    Overloaded,
    RateLimited,
    TidingsError,
    TooLarge,
    Unavailable,
)

# Of the WebSocket protocol itself; no goodbye frame goes before the last two.
NORMAL = 1000
PROTOCOL_ERROR = 1002
INVALID_TEXT = 1007

RECONNECT_BELOW = 4500


@dataclass(frozen=True, slots=True)
class CloseReason:
    """One line of the table; `message` is what a goodbye says unless the case has something better."""

    code: int
    name: str
    message: str

    @property
    def reconnect(self) -> bool:
        """Whether the client shall come back by itself."""
        return self.code < RECONNECT_BELOW

    @property
    def label(self) -> str:
        """The value of the `code` label in metrics."""
        return self.name.lower()

    def goodbye(self, message: str = "", *, retry_after_ms: int = 0, address: str = "") -> client_pb2.ServerFrame:
        """The frame that goes before the close."""
        return client_pb2.ServerFrame(
            goodbye=client_pb2.Goodbye(
                code=self.code,
                message=message or self.message,
                reconnect=self.reconnect,
                retry_after_ms=retry_after_ms,
                address=address,
            )
        )


DRAINING = CloseReason(4000, "DRAINING", "this node is leaving; connect again")
MOVED = CloseReason(4001, "MOVED", "another node serves this user; connect to the address given")
HEARTBEAT_TIMEOUT = CloseReason(4002, "HEARTBEAT_TIMEOUT", "nothing was heard for too long; connect again")
OVERLOADED = CloseReason(4003, "OVERLOADED", "too many connections; connect again later")
SLOW_HANDSHAKE = CloseReason(4004, "SLOW_HANDSHAKE", "no hello came in time; send it first after connecting")
INTERNAL = CloseReason(4005, "INTERNAL", "something went wrong on this node; connect again")
ABUSE = CloseReason(4006, "ABUSE", "this device does too much; do less, and connect again after the time given")
UNAUTHENTICATED = CloseReason(4500, "UNAUTHENTICATED", "the token is not valid; get a new one")
REPLACED = CloseReason(4501, "REPLACED", "this device logged in again elsewhere; use it there, or log in here again")
KICKED = CloseReason(4502, "KICKED", "the operator ended this session; log in again")
BAD_FRAME = CloseReason(4503, "BAD_FRAME", "what came is not a frame of this protocol; check the encoding")
TOO_LARGE = CloseReason(4504, "TOO_LARGE", "the frame is larger than the limit; send less at once")
TOKEN_EXPIRED = CloseReason(4506, "TOKEN_EXPIRED", "the token has run out; get a new one")
CLIENT_REFUSED = CloseReason(4507, "CLIENT_REFUSED", "this client version is not served; update it")
BANNED = CloseReason(4508, "BANNED", "the operator has banned this user; ask them")

REASONS: Mapping[int, CloseReason] = MappingProxyType(
    {
        reason.code: reason
        for reason in (
            DRAINING,
            MOVED,
            HEARTBEAT_TIMEOUT,
            OVERLOADED,
            SLOW_HANDSHAKE,
            INTERNAL,
            ABUSE,
            UNAUTHENTICATED,
            REPLACED,
            KICKED,
            BAD_FRAME,
            TOO_LARGE,
            TOKEN_EXPIRED,
            CLIENT_REFUSED,
            BANNED,
        )
    }
)


def reason_of(code: int) -> CloseReason:
    """The line of this code; one of a newer version keeps its number, and with it whether to come back."""
    unknown = "closed for a reason that this version does not know; update it"
    return REASONS.get(code) or CloseReason(code, f"CODE_{code}", unknown)


def reason_before_welcome(error: TidingsError) -> CloseReason:
    """Before the welcome every error is a goodbye: which one (a refused token carries its own)."""
    match error:
        case BadFrame() | BadRequest():
            return BAD_FRAME
        case TooLarge():
            return TOO_LARGE
        case RateLimited() | Overloaded() | Unavailable():
            return OVERLOADED
        case Internal():
            return INTERNAL
        case _:
            return UNAUTHENTICATED
