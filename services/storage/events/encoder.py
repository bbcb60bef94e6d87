"""Events, encoded: of each entry, with the acts of the change that it tells of, and of changes without notices.

Guarantees: pure. The same message gives the same event, but for its recipients and its trace when it is told again from
the log. What the events of a conversation have in common is encoded once, for as long as its recipients are the same.
Does not know: when they are published, and that it is at least once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from protos.tidings.v1 import events_pb2
from services.common.bus import event_types
from services.common.bus.contract import Record
from services.common.telemetry import tracing
from services.storage.events.port import FedChange, FedRow
from services.storage.repository.records import CHANGE
from tidings_protocol.ids import message_id
from tidings_protocol.wire.message import head_of, message_from
from tidings_protocol.wire.varint import length_delimited_tag, varint

ChangeItem = storage_pb2.ChangeItem

_MESSAGE = length_delimited_tag(events_pb2.Event, "message")
_MEMBERSHIP = length_delimited_tag(events_pb2.Event, "membership")
_TRACE = length_delimited_tag(events_pb2.Event, "trace")
_TIME = b"\x10"  # field 2, a varint
# What is remembered of conversations, together.
KNOWN_BYTES_MAX = 8 * 1024 * 1024
KNOWN_BYTES = 400


class Known(NamedTuple):
    """What the events of a conversation have in common, as long as its recipients are these."""

    recipients: Sequence[str]
    head: bytes
    key: bytes


class EventEncoder:
    """Encodes for one cluster and one topic."""

    def __init__(self, topic: str, cluster: str) -> None:
        self._topic = topic
        self._cluster = cluster
        self._known: dict[str, Known] = {}
        self._known_bytes = 0
        self._last_time = (0, b"")

    def records(self, items: Iterable[FedRow | FedChange]) -> list[Record]:
        """What is published of these, in their order."""
        records: list[Record] = []
        for item in items:
            if isinstance(item, FedChange):
                records += self._acts(item.conversation.id, item.time_ms, item.acts)
                continue
            message = item.message
            records.append(self._message(item))
            if message.change:
                acts = ChangeItem.FromString(message.change).acts
                records += self._acts(message.conversation, message.time_ms, acts)
        return records

    def _message(self, row: FedRow) -> Record:
        message = row.message
        conversation, seq, sender, client_id, time_ms, content, kind, _, _, before = message[:10]
        ordinal, type_ = seq - before, event_types.MESSAGE
        if kind == CHANGE:
            ordinal, type_ = 0, event_types.CHANGE
        body = row.told
        if not body:
            head, identity = head_of(conversation, sender, kind), message_id(conversation, seq)
            body = message_from(head, identity, seq, time_ms, client_id, content, ordinal)
        known = self._known_of(conversation, row.recipients)
        value = b"".join((known.head, self._time(time_ms), _MESSAGE, varint(len(body)), body))
        if not row.trace:
            return Record(self._topic, value, None, known.key, type_)
        trace = row.trace.encode()
        traced = b"".join((value, _TRACE, varint(len(trace)), trace))
        return Record(self._topic, traced, None, known.key, (*type_, (tracing.HEADER, trace)))

    def _acts(self, conversation: str, time_ms: int, acts: Sequence[bytes]) -> Iterator[Record]:
        known = self._known_of(conversation, ())
        for act in acts:
            parts = (known.head, self._time(time_ms), _MEMBERSHIP, varint(len(act)), act)
            yield Record(self._topic, b"".join(parts), None, known.key, event_types.MEMBERSHIP)

    def _time(self, time_ms: int) -> bytes:
        """The field of the time; messages that were stored together have the same."""
        if time_ms != self._last_time[0]:
            self._last_time = time_ms, _TIME + varint(time_ms)
        return self._last_time[1]

    def _known_of(self, conversation: str, recipients: Sequence[str]) -> Known:
        """What all events of a conversation with these recipients have in common."""
        known = self._known.get(conversation)
        if known is not None and known.recipients == recipients:
            return known
        head = events_pb2.Event(
            conversation=conversation, cluster=self._cluster, recipients=recipients
        ).SerializeToString()
        size = KNOWN_BYTES + 8 * len(head)
        self._known_bytes += size
        if self._known_bytes > KNOWN_BYTES_MAX:
            self._known.clear()
            self._known_bytes = size
        known = self._known[conversation] = Known(recipients, head, conversation.encode())
        return known
