"""The public stream of events."""

from __future__ import annotations

from protos.tidings.v1 import events_pb2
from services.logic.publishing.events import EventEncoder
from tidings_protocol import client_pb2


def test_a_receipt_is_an_event_of_its_conversation() -> None:
    receipt = client_pb2.Receipt(conversation="g:x", user="a", read_seq=3, delivered_seq=3)
    [event] = EventEncoder("main", enabled=True).receipt(receipt, 99)
    assert events_pb2.Event.FromString(event.value).receipt == receipt


def test_there_are_no_events_when_they_are_off() -> None:
    encoder = EventEncoder("main", enabled=False)
    assert encoder.receipt(client_pb2.Receipt(), 1) == ()
