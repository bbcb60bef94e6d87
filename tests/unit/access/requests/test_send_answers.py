"""A send in flight: what its client is answered, and when it goes on to wait."""

from __future__ import annotations

from typing import Any, cast

from protos.tidings.internal.v1 import logic_pb2
from services.access.requests.send_in_flight import SendInFlight
from services.common.clock import ManualClock
from services.common.rpc.faults import to_fault
from tests.unit.access.fakes import Client, open_client
from tidings_protocol.errors import Forbidden, Overloaded, Unavailable

Outcome = logic_pb2.SendOutcome


class Held:
    """Keeps what has no outcome yet, or is full."""

    def __init__(self) -> None:
        self.kept: list[SendInFlight] = []
        self.full = False

    def take(self, send: SendInFlight) -> None:
        if self.full:
            raise Overloaded("too many wait")
        self.kept.append(send)


def send(client: Client, held: Held | None = None) -> SendInFlight:
    item = logic_pb2.SendItem(sender="ann", conversation="d:ann|bob", client_id="c1")
    return SendInFlight(client.connection, 4, item, ManualClock(), None, cast("Any", held or Held()))


def test_a_stored_send_is_answered_with_its_place_in_the_conversation() -> None:
    client = open_client()
    send(client).done(Outcome(seq=7, time_ms=3, number=12))
    (answer,) = client.answers
    assert answer.id == 4
    assert (answer.sent.client_id, answer.sent.conversation, answer.sent.seq) == ("c1", "d:ann|bob", 7)
    assert (answer.sent.time_ms, answer.sent.number, answer.sent.duplicate) == (3, 12, False)


def test_the_number_of_a_senders_own_message_counts_as_shown() -> None:
    client = open_client()
    send(client).done(Outcome(seq=7, number=12))
    assert client.connection.delivery.shown == 12


def test_a_send_that_was_stored_before_says_so() -> None:
    client = open_client()
    send(client).done(Outcome(seq=7, duplicate=True))
    assert client.answers[0].sent.duplicate


def test_a_refusal_and_a_failure_are_errors_of_the_request() -> None:
    client = open_client()
    send(client).done(Outcome(fault=to_fault(Forbidden("you are not a member"))))
    send(client).done(Unavailable("away"))
    assert [(frame.id, frame.error.code) for frame in client.answers] == [(4, "FORBIDDEN"), (4, "UNAVAILABLE")]


def test_a_send_without_an_outcome_waits_and_is_answered_when_there_is_one() -> None:
    client, held = open_client(), Held()
    pending = send(client, held)
    pending.done(Outcome(pending=True))
    assert (held.kept, client.answers) == ([pending], [])
    pending.answer(Outcome(seq=7))
    assert client.answers[0].sent.seq == 7


def test_a_send_that_can_not_wait_is_refused() -> None:
    client, held = open_client(), Held()
    held.full = True
    send(client, held).done(Outcome(pending=True))
    assert client.answers[0].error.code == "OVERLOADED"
