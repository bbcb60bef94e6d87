"""What a batch has to tell, as the records that Kafka gets: parcels for access nodes, then events.

Guarantees: parcels come first, since people wait for them; the pushes of one conversation keep their order on their way
to each node (parcels.py).

Does not know: when the records are written, and what becomes of them while Kafka is away (publisher.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protos.tidings.internal.v1 import delivery_pb2
from services.common.bus.contract import Record
from services.common.bus.event_types import RECEIPT
from services.common.bus.topics import TopicNames
from services.common.telemetry import metrics, tracing
from services.logic.publishing.backlog import PendingRecord
from services.logic.publishing.directory import Directory
from services.logic.publishing.events import StreamEvent
from services.logic.publishing.message_columns import OutgoingMessages
from services.logic.publishing.parcels import KafkaParcel, OutgoingPush, build_parcels

Push = delivery_pb2.Push
_IN_ORDER = frozenset({Push.MESSAGE, Push.STREAM_PART})


@dataclass(frozen=True, slots=True)
class Publication:
    """What one batch has to tell: the columns first, then the other pushes. `messages`: how many sends are told."""

    outgoing: Sequence[OutgoingPush] = ()
    events: Sequence[StreamEvent] = ()
    messages: int = 0
    columns: OutgoingMessages | None = None

    @property
    def has_messages(self) -> bool:
        """Whether there are messages, or parts of them, among what is pushed: these come in the order of their
        conversation."""
        return self.columns is not None or any(push.kind in _IN_ORDER for push in self.outgoing)

    @property
    def traces(self) -> Iterator[str]:
        """Those of all that is told; "" where nothing is sampled."""
        if self.columns is not None:
            yield from self.columns.traces
        for push in self.outgoing:
            yield push.trace


class RecordBuilder:
    """Makes records for the access nodes that the directory knows now."""

    def __init__(self, directory: Directory, topics: TopicNames, *, parcel_bytes_max: int) -> None:
        self._directory = directory
        self._topics = topics
        self._parcel_bytes_max = parcel_bytes_max

    def build(self, publications: Sequence[Publication], now_s: float) -> list[PendingRecord]:
        """The records of these publications together. Pushes for slots that nobody owns are counted and left out."""
        built = build_parcels(
            _in_order(publications),
            self._directory.owner_of(),
            self._directory.mailboxes(),
            broadcast_partitions=self._topics.broadcast_partitions,
            parcel_bytes_max=self._parcel_bytes_max,
            sole_owner=self._directory.sole_owner(),
        )
        if built.unowned:
            metrics.PUSHES_UNOWNED.inc(built.unowned)
        records = [
            PendingRecord(
                self._record(parcel), parcel.lasting, now_s, (parcel.to.node, parcel.to.boot_id) if parcel.to else None
            )
            for parcel in built.parcels
        ]
        events = self._topics.events
        for publication in publications:
            records += [
                PendingRecord(Record(events, event.value, None, event.conversation.encode(), RECEIPT), True, now_s)
                for event in publication.events
            ]
        return records

    def _record(self, parcel: KafkaParcel) -> Record:
        topic = self._topics.broadcast if parcel.broadcast else self._topics.deliver
        headers = ((tracing.HEADER, parcel.trace.encode()),) if parcel.trace else ()
        return Record(topic, parcel.value, partition=parcel.partition, headers=headers)


def _in_order(publications: Sequence[Publication]) -> Iterator[OutgoingPush | OutgoingMessages]:
    for publication in publications:
        if publication.columns is not None:
            yield publication.columns
        yield from publication.outgoing
