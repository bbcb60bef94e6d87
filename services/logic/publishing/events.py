"""What goes on `tidings.events`, encoded: a `tidings.v1.Event` for each stored message, receipt, change of membership.

Guarantees: pure; the key of each is its conversation. A message is embedded as it was encoded for its recipients.

Does not know: when they are published, and that it is at least once (publisher.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from protos.tidings.v1 import events_pb2
from services.logic.groups.model import GroupAct
from services.logic.groups.notices import membership_of
from tidings_protocol import client_pb2
from tidings_protocol.wire.varint import length_delimited_tag, varint

_MESSAGE_TAG = length_delimited_tag(events_pb2.Event, "message")


class StreamEvent(NamedTuple):
    """`value` is an encoded Event of this conversation."""

    conversation: str
    value: bytes


class EventEncoder:
    """Encodes for one cluster; if it is not enabled, there are no events."""

    def __init__(self, cluster: str, *, enabled: bool) -> None:
        self._cluster = cluster
        self.enabled = enabled

    def message(
        self, conversation: str, time_ms: int, message: bytes, recipients: Sequence[str], trace: str
    ) -> tuple[StreamEvent, ...]:
        """`message` is an encoded Message."""
        if not self.enabled:
            return ()
        head = events_pb2.Event(
            conversation=conversation, time_ms=time_ms, cluster=self._cluster, recipients=recipients, trace=trace
        ).SerializeToString()
        value = b"".join((head, _MESSAGE_TAG, varint(len(message)), message))
        return (StreamEvent(conversation, value),)

    def receipt(self, receipt: client_pb2.Receipt, time_ms: int) -> tuple[StreamEvent, ...]:
        if not self.enabled:
            return ()
        event = events_pb2.Event(
            conversation=receipt.conversation, time_ms=time_ms, cluster=self._cluster, receipt=receipt
        )
        return (StreamEvent(receipt.conversation, event.SerializeToString()),)

    def acts(self, conversation: str, time_ms: int, acts: Sequence[GroupAct]) -> tuple[StreamEvent, ...]:
        if not self.enabled:
            return ()
        return tuple(
            StreamEvent(
                conversation,
                events_pb2.Event(
                    conversation=conversation, time_ms=time_ms, cluster=self._cluster, membership=membership_of(act)
                ).SerializeToString(),
            )
            for act in acts
        )
