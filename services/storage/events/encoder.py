"""Events, encoded: of each message, with the acts of the change that it tells of, and of changes without notices.

Guarantees: pure. The same message gives the same event, but for its recipients and its trace when it is told again from
the log. What the events of a conversation have in common is encoded once, for as long as its recipients are the same.
Does not know: when they are published, and that it is at least once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from protos.tidings.internal.v1 import storage_pb2
from protos.tidings.v1 import events_pb2
from services.common.bus.contract import Header, Record
from services.common.telemetry import tracing
from services.storage.events.port import FedChange, FedRow
from tidings_protocol.ids import message_id
from tidings_protocol.wire.body import message_bytes
from tidings_protocol.wire.varint import length_delimited_tag, varint

ChangeItem = storage_pb2.ChangeItem

_MESSAGE = length_delimited_tag(events_pb2.Event, "message")
_MEMBERSHIP = length_delimited_tag(events_pb2.Event, "membership")
_TRACE = length_delimited_tag(events_pb2.Event, "trace")
_TIME = b"\x10"  # field 2, a varint
# What is remembered of conversations, together.
HEADS_BYTES_MAX = 8 * 1024 * 1024
HEAD_BYTES = 300


class EventEncoder:
    """Encodes for one cluster and one topic."""

    def __init__(self, topic: str, cluster: str) -> None:
        self._topic = topic
        self._cluster = cluster
        self._heads: dict[str, tuple[Sequence[str], bytes]] = {}
        self._heads_bytes = 0

    def records(self, item: FedRow | FedChange) -> Iterator[Record]:
        """What is published of this."""
        if isinstance(item, FedChange):
            yield from self._acts(item.conversation.id, item.time_ms, item.acts)
            return
        message = item.message
        yield self._message(item)
        if message.change:
            acts = ChangeItem.FromString(message.change).acts
            yield from self._acts(message.conversation, message.time_ms, acts)

    def _message(self, row: FedRow) -> Record:
        message = row.message
        body = message_bytes(
            conversation=message.conversation,
            seq=message.seq,
            message_id=message_id(message.conversation, message.seq),
            sender=message.sender,
            time_ms=message.time_ms,
            content=message.content,
            kind=message.kind,
            client_id=message.client_id,
        )
        parts = [
            self._head(message.conversation, row.recipients), _TIME, varint(message.time_ms),
            _MESSAGE, varint(len(body)), body,
        ]  # fmt: skip
        headers: tuple[Header, ...] = ()
        if row.trace:
            trace = row.trace.encode()
            parts += (_TRACE, varint(len(trace)), trace)
            headers = ((tracing.HEADER, trace),)
        return Record(self._topic, b"".join(parts), key=message.conversation.encode(), headers=headers)

    def _acts(self, conversation: str, time_ms: int, acts: Sequence[bytes]) -> Iterator[Record]:
        for act in acts:
            parts = (self._head(conversation, ()), _TIME, varint(time_ms), _MEMBERSHIP, varint(len(act)), act)
            yield Record(self._topic, b"".join(parts), key=conversation.encode())

    def _head(self, conversation: str, recipients: Sequence[str]) -> bytes:
        """What all events of a conversation with these recipients begin with."""
        known = self._heads.get(conversation)
        if known is not None and known[0] == recipients:
            return known[1]
        head = events_pb2.Event(
            conversation=conversation, cluster=self._cluster, recipients=recipients
        ).SerializeToString()
        self._heads_bytes += HEAD_BYTES + 8 * len(head)
        if self._heads_bytes > HEADS_BYTES_MAX:
            self._heads.clear()
            self._heads_bytes = HEAD_BYTES + 8 * len(head)
        self._heads[conversation] = (recipients, head)
        return head
