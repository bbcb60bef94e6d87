"""The trace of a send: a span from its frame to its answer, and a line for what the cluster is to blame for."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from protos.tidings.internal.v1 import logic_pb2
from services.access.requests import send_trace
from services.access.requests.send_trace import FAILURES_MAX, Allowance, SendTrace
from services.common.telemetry import logs, tracing
from tests.support.traces import ended, recording
from tidings_protocol.errors import Forbidden, Unavailable


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


def test_a_sampled_send_is_a_span_from_its_frame_to_its_answer(spans: InMemorySpanExporter) -> None:
    sent = item()
    trace = SendTrace.begin(sent)
    assert trace is not None
    assert trace.text
    assert ended(spans) == ()
    assert trace.acknowledged(7) == {"trace_id": tracing.id_of(trace.text)}
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
