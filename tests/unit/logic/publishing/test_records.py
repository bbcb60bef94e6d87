"""A batch as records for Kafka."""

from __future__ import annotations

from protos.tidings.internal.v1 import delivery_pb2
from services.common.registry.contract import Membership
from services.common.telemetry import metrics, tracing
from services.logic.publishing.directory import Directory
from services.logic.publishing.events import StreamEvent
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.records import Publication, RecordBuilder
from tests.unit.logic.harness import TOPICS, View

Push = delivery_pb2.Push


def builder(view: View) -> RecordBuilder:
    return RecordBuilder(Directory(view), TOPICS, parcel_bytes_max=100_000)


def test_parcels_come_before_events_and_know_whom_they_are_for() -> None:
    publications = [
        Publication(events=[StreamEvent("g:x", b"event")]),
        Publication([OutgoingPush(Push.MESSAGE, b"m", ["amy"], [1], trace="tp"), OutgoingPush(Push.SESSIONS, b"s")]),
    ]
    mailbox, broadcast, event = builder(View()).build(publications, 5.0)
    assert (mailbox.record.topic, mailbox.lasting, mailbox.since_s) == (TOPICS.deliver, False, 5.0)
    assert mailbox.to in {("access-0", "boot-0"), ("access-1", "boot-1")}
    assert mailbox.record.headers == ((tracing.HEADER, b"tp"),)
    assert (broadcast.record.topic, broadcast.lasting, broadcast.to) == (TOPICS.broadcast, True, None)
    assert (event.record.topic, event.record.key, event.record.value) == (TOPICS.events, b"g:x", b"event")
    assert (event.lasting, event.record.headers) == (True, (("type", b"receipt"),))


def test_a_push_whose_recipients_no_node_owns_is_counted() -> None:
    before = metrics.PUSHES_UNOWNED._value.get()
    nobody = View(Membership.of(1, []))
    assert builder(nobody).build([Publication([OutgoingPush(Push.MESSAGE, b"m", ["amy", "bob"])])], 0.0) == []
    assert metrics.PUSHES_UNOWNED._value.get() == before + 2
