"""The answers to sends: what the clients of a batch are told, what is measured, and what goes on to wait."""

from __future__ import annotations

from typing import Any, cast

from prometheus_client import REGISTRY

from protos.tidings.internal.v1 import logic_pb2
from services.access.requests.send_answers import SendAnswers, UndecidedSend
from services.access.requests.send_in_flight import SendInFlight
from services.access.requests.send_trace import SendTrace
from services.access.send_rows import Outcome, StoredSend
from services.access.session.session import Phase
from services.common.clock import ManualClock
from services.common.rpc.faults import to_fault
from services.common.telemetry import tracing
from tests.support.traces import ended, recording
from tests.unit.access.fakes import Client, open_client
from tidings_protocol.errors import Forbidden, Overloaded, Unavailable

CLOCK = ManualClock()


class Held:
    """Keeps what has no outcome yet, or is full."""

    def __init__(self) -> None:
        self.kept: list[UndecidedSend] = []
        self.full = False

    def take(self, send: UndecidedSend) -> None:
        if self.full:
            raise Overloaded("too many wait")
        self.kept.append(send)


def send(client: Client, request_id: int = 4) -> SendInFlight:
    connection, accepted_ms = client.connection, CLOCK.wall_ms() - 20
    return SendInFlight(connection, request_id, "ann", "s", "d:ann|bob", 7, "c1", b"hi", 0, accepted_ms)


def tell(client: Client, *outcomes: Outcome, held: Held | None = None) -> None:
    """Logic said this of sends of the client, in one batch."""
    answers = SendAnswers(CLOCK, cast("Any", held or Held()))
    answers.tell([send(client) for _ in outcomes], outcomes)


def measured(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_stored_send_is_answered_with_its_place_in_the_conversation() -> None:
    client = open_client()
    tell(client, StoredSend(7, 3, 12))
    (answer,) = client.answers
    assert answer.id == 4
    assert (answer.sent.client_id, answer.sent.conversation, answer.sent.seq) == ("c1", "d:ann|bob", 7)
    assert (answer.sent.time_ms, answer.sent.number, answer.sent.duplicate) == (3, 12, False)


def test_the_number_of_a_senders_own_message_counts_as_shown() -> None:
    client = open_client()
    tell(client, StoredSend(7, 3, 12))
    assert client.connection.delivery.shown == 12


def test_a_send_that_was_stored_before_says_so() -> None:
    client = open_client()
    tell(client, StoredSend(7, 3, 12, duplicate=True))
    assert client.answers[0].sent.duplicate


def test_refusals_and_failures_are_errors_of_their_requests_and_no_neighbours() -> None:
    client = open_client()
    tell(client, Forbidden("you are not a member"), StoredSend(7, 3, 0), Unavailable("away"))
    assert sorted(frame.error.code for frame in client.answers) == ["", "FORBIDDEN", "UNAVAILABLE"]
    assert [frame.id for frame in client.answers] == [4, 4, 4]


def test_a_batch_is_counted_and_measured_send_by_send() -> None:
    names = ("stored", "duplicate", "forbidden")
    before = [measured("tidings_sends_total", outcome=name) for name in names]
    count, total = measured("tidings_ack_seconds_count"), measured("tidings_ack_seconds_sum")
    again = StoredSend(2, 3, 0, duplicate=True)
    tell(open_client(), StoredSend(1, 3, 0), again, StoredSend(3, 3, 0), Forbidden("no"), None)
    after = [measured("tidings_sends_total", outcome=name) for name in names]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1, 1]
    assert measured("tidings_ack_seconds_count") == count + 3
    assert round(measured("tidings_ack_seconds_sum") - total, 6) == 0.06


def test_a_sampled_send_ends_its_span_with_its_answer() -> None:
    with recording() as exporter:
        plain = send(open_client())
        span = SendTrace.begin(plain)
        assert span is not None
        sampled = plain._replace(span=span)
        SendAnswers(CLOCK, cast("Any", Held())).tell([sampled], [StoredSend(7, 3, 0)])
        (shown,) = ended(exporter)
    assert dict(shown.attributes or {})["tidings.seq"] == 7
    assert shown.context is not None
    assert tracing.id_of(sampled.trace) == f"{shown.context.trace_id:032x}"
    assert sampled.item().trace == sampled.trace


def test_a_defect_in_one_answer_ends_its_connection_and_no_other_one() -> None:
    broken, sound = open_client("ann"), open_client("bob")
    broken.connection.codec = cast("Any", None)
    SendAnswers(CLOCK, cast("Any", Held())).tell([send(broken), send(sound)], [StoredSend(1, 1, 1)] * 2)
    assert broken.connection.session.phase is not Phase.OPEN
    assert [frame.sent.seq for frame in sound.answers] == [1]


def test_a_send_without_an_outcome_waits_and_is_answered_when_there_is_one() -> None:
    client, held = open_client(), Held()
    tell(client, None, held=held)
    assert client.answers == []
    (pending,) = held.kept
    assert (pending.item.conversation, pending.item.client_id, pending.item.content) == ("d:ann|bob", "c1", b"hi")
    pending.answer(logic_pb2.SendOutcome(seq=7))
    assert client.answers[0].sent.seq == 7


def test_a_send_that_waited_may_be_refused_or_fail_in_the_end() -> None:
    client, held = open_client(), Held()
    tell(client, None, None, held=held)
    refused, failed = held.kept
    refused.answer(logic_pb2.SendOutcome(fault=to_fault(Forbidden("no"))))
    failed.answer(Unavailable("away"))
    assert [frame.error.code for frame in client.answers] == ["FORBIDDEN", "UNAVAILABLE"]


def test_a_send_that_can_not_wait_is_refused() -> None:
    client, held = open_client(), Held()
    held.full = True
    tell(client, None, held=held)
    assert client.answers[0].error.code == "OVERLOADED"
