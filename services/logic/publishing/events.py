"""What logic puts on `tidings.events`, encoded: a `tidings.v1.Event` for each receipt.

Messages and changes of membership are storage's to tell, which has them whoever dies.

Guarantees: pure; the key of each is its conversation.

Does not know: when they are published (publisher.py).
"""

from __future__ import annotations

from typing import NamedTuple

from protos.tidings.v1 import events_pb2
from tidings_protocol import client_pb2


class StreamEvent(NamedTuple):
    """What goes on the stream of events. `value` is an encoded Event of this conversation."""

    conversation: str
    value: bytes


class EventEncoder:
    """Encodes for one cluster; if it is not enabled, there are no events."""

    def __init__(self, cluster: str, *, enabled: bool) -> None:
        self._cluster = cluster
        self.enabled = enabled

    def receipt(self, receipt: client_pb2.Receipt, time_ms: int) -> tuple[StreamEvent, ...]:
        """The event of a receipt."""
        if not self.enabled:
            return ()
        event = events_pb2.Event(
            conversation=receipt.conversation, time_ms=time_ms, cluster=self._cluster, receipt=receipt
        )
        return (StreamEvent(receipt.conversation, event.SerializeToString()),)
