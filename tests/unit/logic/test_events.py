"""The public stream of events."""

from __future__ import annotations

from protos.tidings.v1 import events_pb2
from services.logic.groups.model import GroupAct
from services.logic.publishing.events import EventEncoder
from tidings_protocol import client_pb2


def test_a_message_is_an_event_with_those_who_got_it() -> None:
    message = client_pb2.Message(conversation="d:a|b", seq=4, sender="a", content=client_pb2.Content(text="hi" * 200))
    [event] = EventEncoder("main", enabled=True).message("d:a|b", 99, message.SerializeToString(), ["a", "b"], "tp")
    assert event.conversation == "d:a|b"
    assert events_pb2.Event.FromString(event.value) == events_pb2.Event(
        conversation="d:a|b", time_ms=99, cluster="main", message=message, recipients=["a", "b"], trace="tp"
    )


def test_a_receipt_is_an_event_of_its_conversation() -> None:
    receipt = client_pb2.Receipt(conversation="g:x", user="a", read_seq=3, delivered_seq=3)
    [event] = EventEncoder("main", enabled=True).receipt(receipt, 99)
    assert events_pb2.Event.FromString(event.value).receipt == receipt


def test_each_act_is_an_event() -> None:
    acts = (GroupAct("add", "olga", ("mia",)), GroupAct("large", "olga"))
    found = EventEncoder("main", enabled=True).acts("g:x", 99, acts)
    assert [events_pb2.Event.FromString(event.value).membership for event in found] == [
        events_pb2.Membership(act="add", by="olga", users=["mia"]),
        events_pb2.Membership(act="large", by="olga"),
    ]


def test_there_are_no_events_when_they_are_off() -> None:
    encoder = EventEncoder("main", enabled=False)
    assert encoder.message("d:a|b", 1, b"", [], "") == ()
    assert encoder.receipt(client_pb2.Receipt(), 1) == ()
    assert encoder.acts("g:x", 1, (GroupAct("large", "olga"),)) == ()
