"""What calling another node means: the port, what is served, and the three errors that only a call can have.

Does not know: gRPC's classes (peers, server) and the twin (memory).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from services.common.registry.contract import NodeRecord
from tidings_protocol.errors import TooLarge, Unavailable

Reply = TypeVar("Reply", bound=Message)

MESSAGE_BYTES_MAX = 16 * 1024 * 1024

# Calls that are made all the time and have short replies: they go over one stream for each node (stream.py). The others
# are calls of their own, so that a page of history never stands before a message in a stream.
STREAMED = frozenset(
    {
        "Access/Visit",
        "Logic/Acknowledge",
        "Logic/Heads",
        "Logic/Send",
        "Logic/SendRows",
        "Logic/Signal",
        "Storage/Acknowledge",
        "Storage/Append",
        "Storage/ConversationHeads",
        "Storage/InboxHeads",
        "Storage/Mark",
        "Storage/React",
        "Storage/Store",
        "Storage/StoreRows",
    }
)
# A request that is longer than this is a call of its own as well.
STREAMED_BYTES_MAX = 256 * 1024

# A generated `add_XServicer_to_server`, and the servicer: async methods that take (request, context), return the reply
# or raise a TidingsError. gRPC cancels a method whose caller gave up: what must be done goes through a lane.
Service = tuple[Callable[[Any, Any], None], object]


class Unreachable(Unavailable):
    """No answer because there is no connection: most likely nothing was done."""


class TimedOut(Unavailable):
    """No answer within the deadline: whether it was done is unknown."""


class Dropped(Unavailable):
    """The node is there, but did not take the call: too many waited, or it is stopping. Most likely nothing was done;
    another node may be asked, and this one is not one that failed."""


class PeersPort(Protocol):
    """Calls of one node to others."""

    async def call(
        self, method: str, request: Message, reply_type: type[Reply], *, node: NodeRecord, timeout_s: float
    ) -> Reply:
        """One call of e.g. "/tidings.internal.v1.Logic/Send" to this node.

        `timeout_s`: the deadline, on both sides. Raises the TidingsError that the other side raised, Unreachable,
        TimedOut, Dropped, or TooLarge for a request or reply of more than MESSAGE_BYTES_MAX. Never repeats by itself.
        After a cancellation the other side is cancelled too; what was asked for may be done.
        """
        ...


def too_large(method: str) -> TooLarge:
    """A request, or the answer to it, has more bytes than a call carries."""
    return TooLarge(f"a call of {label_of(method)} is larger than {MESSAGE_BYTES_MAX} bytes: send less at once")


def label_of(method: str) -> str:
    """The value of the `method` label: "Logic/Send"."""
    return method.rpartition(".")[2]


class SlotCaller(Protocol):
    """Calls of the node that owns a slot; `Router` makes them, and goes on to the nodes that follow it."""

    async def call(
        self, slot: int, method: str, request: Message, reply_type: type[Reply], *, timeout_s: float, budget_s: float
    ) -> Reply:
        """`timeout_s`: the deadline of one try; `budget_s`: the time for all tries. Raises TidingsError.

        A cancellation ends the try under way; what was asked for may be done.
        """
        ...
