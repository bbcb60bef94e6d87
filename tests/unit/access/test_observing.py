"""What an access node notes of its work: traces of sends, latencies of deliveries, states of connections."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connection.traffic import Traffic
from services.access.connections import STATES, count_states
from services.access.delivery.delivery import Delivery
from services.access.requests import send_trace
from services.access.requests.send_trace import FAILURES_MAX, Allowance, SendTrace
from services.access.transport.tcp import TcpArrival, TcpServer, TcpStream
from services.common.clock import SystemClock
from services.common.telemetry import logs, metrics, tracing
from tests.fuzz.port import LIMITS, NO_SOCKET, FakeNode, FakeStream, OpenDoor
from tests.traces import ended, recording
from tidings_protocol import client_pb2
from tidings_protocol.errors import Forbidden, Unavailable
from tidings_protocol.wire.codec import PROTO
from tidings_protocol.wire.framing import framed

Push = delivery_pb2.Push


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    with recording() as exporter:
        yield exporter


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The log; and an allowance that no other test has used."""
    monkeypatch.setattr(send_trace, "_ALLOWANCE", Allowance(FAILURES_MAX))
    out = io.StringIO()
    logs.configure(level="info", form="json", stream=out)
    yield out
    structlog.reset_defaults()


def item() -> logic_pb2.SendItem:
    return logic_pb2.SendItem(sender="ann", session="s1", conversation="d:ann|bob", client_id="c1", accepted_ms=5_000)


# ---- sends


def test_a_sampled_send_is_a_span_from_its_frame_to_its_answer(spans: InMemorySpanExporter) -> None:
    sent = item()
    trace = SendTrace.begin(sent)
    assert trace is not None
    assert sent.trace
    assert ended(spans) == ()
    assert trace.acknowledged(7) == {"trace_id": tracing.id_of(sent.trace)}
    (span,) = ended(spans)
    assert span.parent is None
    assert dict(span.attributes or {}) == {
        "tidings.user": "ann",
        "tidings.conversation": "d:ann|bob",
        "tidings.session": "s1",
        "tidings.client_id": "c1",
        "tidings.seq": 7,
    }


def test_nothing_is_begun_while_tracing_is_off_or_the_send_is_not_sampled() -> None:
    sent = item()
    assert SendTrace.begin(sent) is None
    with recording(sample_ratio=0.0):
        assert SendTrace.begin(sent) is None
    assert sent.trace == ""


def test_a_send_that_fails_by_the_clusters_fault_is_traced_and_told_though_it_was_not_sampled(
    lines: io.StringIO,
) -> None:
    with recording(sample_ratio=0.0) as exporter:
        send_trace.failed(item(), None, Unavailable("mongodb is away"))
        (span,) = ended(exporter)
    assert span.status.status_code is StatusCode.ERROR
    assert span.start_time == 5_000_000_000
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert span.context is not None
    assert line["trace_id"] == f"{span.context.trace_id:032x}"
    assert (line["event"], line["user"], line["conversation"]) == ("send failed", "ann", "d:ann|bob")
    assert (line["code"], line["reason"], line["passed_over"]) == ("unavailable", "mongodb is away", 0)


def test_without_tracing_the_line_is_written_all_the_same(lines: io.StringIO) -> None:
    send_trace.failed(item(), None, Unavailable("away"))
    assert json.loads(lines.getvalue())["trace_id"] == ""


def test_what_a_client_does_wrong_ends_its_span_and_is_no_line(spans: InMemorySpanExporter, lines: io.StringIO) -> None:
    sent = item()
    trace = SendTrace.begin(sent)
    send_trace.failed(sent, trace, Forbidden("you may not"))
    (span,) = ended(spans)
    assert span.status.description == "forbidden"
    assert lines.getvalue() == ""


def test_an_outage_is_told_a_few_times_a_second_and_the_rest_is_counted() -> None:
    allowance = Allowance(2)
    assert [allowance.take(10.0 + part / 10) for part in range(5)] == [True, True, False, False, False]
    assert allowance.passed_over == 3
    assert allowance.take(11.0)


# ---- deliveries and connections


def silent(session: str = "s") -> TcpStream:
    """A connection that has not said hello."""
    arrival = TcpServer(FakeNode(session_id=session), OpenDoor(), Traffic("tcp"), LIMITS, NO_SOCKET).protocol()
    assert isinstance(arrival, TcpArrival)
    arrival.connection_made(FakeStream())
    return arrival.inner


def welcomed(session: str = "s") -> TcpStream:
    stream = silent(session)
    stream.data_received(framed(PROTO.encode_client(client_pb2.ClientFrame(id=1, hello=client_pb2.Hello(token="t")))))
    return stream


def connection_of(stream: TcpStream) -> Connection:
    assert stream._connection is not None
    return stream._connection


async def test_a_delivery_is_measured_once_when_somebody_got_it_and_leads_to_its_trace(
    spans: InMemorySpanExporter,
) -> None:
    hub: Hub[Connection] = Hub()
    for session in ("s1", "s2"):
        connection = connection_of(welcomed(session))
        hub.add("ann", connection)
    clock = SystemClock()
    delivery = Delivery(hub, clock, lambda _: None)
    sent = item()
    trace = SendTrace.begin(sent)
    assert trace is not None
    body = client_pb2.Message(conversation="d:ann|bob", seq=1).SerializeToString()
    push = Push(kind=Push.MESSAGE, body=body, accepted_ms=clock.wall_ms() - 20, trace=sent.trace)
    before = _deliveries()
    to_ann, to_nobody = Push(), Push()
    to_ann.CopyFrom(push)
    to_ann.users.append("ann")
    to_ann.numbers.append(1)
    to_nobody.CopyFrom(push)
    to_nobody.users.append("stranger")
    await delivery.deliver([to_ann, to_nobody])
    trace.acknowledged(1)
    assert _deliveries() == before + 1
    assert sorted(span.name for span in ended(spans)) == ["deliver", "send"]
    exemplars = [
        sample.exemplar.labels
        for family in metrics.DELIVERY_SECONDS.collect()
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert {"trace_id": tracing.id_of(sent.trace)} in exemplars


async def test_each_connection_is_in_one_state() -> None:
    slow = connection_of(welcomed())
    slow.block()
    counts, waiting = count_states([connection_of(silent()), connection_of(welcomed()), slow])
    assert counts == dict.fromkeys(STATES, 0) | {"awaiting_hello": 1, "live": 1, "paused": 1}
    assert waiting == slow.transport.waiting_bytes


def _deliveries() -> float:
    return next(
        sample.value
        for family in metrics.DELIVERY_SECONDS.collect()
        for sample in family.samples
        if sample.name.endswith("_count")
    )
