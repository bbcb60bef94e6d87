"""Traces: nothing while it is off; one trace over items, headers and processes while it is on."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from services.common.telemetry import logs, tracing
from tests.traces import a_trace, ended, recording


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    with recording() as exporter:
        yield exporter


def parents(exporter: InMemorySpanExporter) -> dict[str, str]:
    """Names of the spans that ended, with the name of each one's parent."""
    finished = ended(exporter)
    names = {span.context.span_id: span.name for span in finished if span.context}
    return {span.name: names.get(span.parent.span_id, "") if span.parent else "" for span in finished}


def test_without_an_endpoint_nothing_is_traced() -> None:
    tracing.configure("", sample_ratio=1.0, service="access", node="a")
    assert not tracing.enabled()
    assert tracing.begin("send", {}) is None
    assert tracing.failure("send", 0, "internal", {}) == ""
    with tracing.batch("store", ["a"]) as span:
        assert span is None
        assert tracing.current() == ""
        assert tracing.inject() == []
    assert tracing.extract([("traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")]) == ""


def test_a_trace_goes_on_from_the_text_in_an_item(spans: InMemorySpanExporter) -> None:
    with a_trace("send") as carried:
        pass
    with tracing.span("store", carried, items=3):
        pass
    began = time.time_ns()
    tracing.record("deliver", carried, began)
    assert parents(spans) == {"send": "", "store": "send", "deliver": "send"}
    assert next(span.start_time for span in ended(spans) if span.name == "deliver") == began


def test_a_trace_goes_on_through_the_headers_of_a_record(spans: InMemorySpanExporter) -> None:
    with a_trace("publish"):
        headers = tracing.inject()
    with tracing.span("deliver", tracing.extract([("other", b"x"), *headers])):
        pass
    assert parents(spans) == {"publish": "", "deliver": "publish"}


def test_what_was_not_sampled_stays_without_spans(spans: InMemorySpanExporter) -> None:
    with tracing.span("store", "") as span, tracing.batch("store", ["", ""]) as other:
        assert span is None
        assert other is None
    tracing.record("deliver", "", 0)
    assert parents(spans) == {}


def test_a_ratio_of_0_samples_nothing_but_what_fails() -> None:
    with recording(sample_ratio=0.0) as exporter:
        assert tracing.begin("send", {}) is None
        text = tracing.failure("send", 5_000, "unavailable", {"tidings.user": "u"})
        (span,) = ended(exporter)
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == tracing.id_of(text)
    assert (span.name, span.start_time, span.status.status_code) == ("send", 5_000, StatusCode.ERROR)
    assert dict(span.attributes or {}) == {"tidings.user": "u"}


@pytest.mark.parametrize("wrong", ["x", "00-1-2-01", f"00-{'g' * 32}-{'1' * 16}-01", f"00-{'0' * 32}-{'1' * 16}-01"])
def test_a_header_that_makes_no_sense_is_left_alone(spans: InMemorySpanExporter, wrong: str) -> None:
    assert tracing.extract([("traceparent", wrong)]) == ""
    tracing.record("deliver", wrong, 0)
    with tracing.span("store", wrong) as span, tracing.batch("store", [wrong, wrong + "x"]) as other:
        assert span is None
        assert other is None
    assert parents(spans) == {}


def test_each_trace_in_a_batch_shows_the_work_on_it(spans: InMemorySpanExporter) -> None:
    roots = []
    for _ in range(3):
        with a_trace() as carried:
            roots.append(carried)
    with tracing.batch("store", ["", *roots, roots[0]], items=5):
        assert tracing.id_of(tracing.current()) == tracing.id_of(roots[0])
    stores = [span for span in ended(spans) if span.name == "store"]
    assert sorted(f"{span.context.trace_id:032x}" for span in stores if span.context) == sorted(
        map(tracing.id_of, roots)
    )
    assert sorted(len(span.links) for span in stores) == [0, 1, 1]


def test_a_batch_that_fails_is_an_error_in_each_trace(spans: InMemorySpanExporter) -> None:
    roots = []
    for _ in range(2):
        with a_trace() as carried:
            roots.append(carried)
    with pytest.raises(ValueError, match="broken"), tracing.batch("store", roots):
        raise ValueError("broken")
    stores = [span for span in ended(spans) if span.name == "store"]
    assert [span.status.status_code for span in stores] == [StatusCode.ERROR] * 2


def test_an_exemplar_names_the_trace(spans: InMemorySpanExporter) -> None:
    with a_trace() as carried:
        pass
    assert tracing.exemplar(carried) == {"trace_id": carried.split("-")[1]}
    assert tracing.exemplar("") is None


def test_a_line_in_the_log_says_which_trace_it_belongs_to(spans: InMemorySpanExporter) -> None:
    out = io.StringIO()
    try:
        logs.configure(level="info", form="json", stream=out)
        log = logs.get_logger("x")
        with a_trace() as carried:
            log.info("within")
        log.info("outside")
    finally:
        structlog.reset_defaults()
    within, outside = map(json.loads, out.getvalue().splitlines())
    assert within["trace_id"] == tracing.id_of(carried)
    assert "trace_id" not in outside


@pytest.mark.parametrize(("spans_left", "listens"), [(1500, False), (1, True)], ids=["nobody-there", "never-answers"])
def test_ending_does_not_wait_for_a_collector_that_is_away(spans_left: int, listens: bool) -> None:
    with socket.socket() as collector:
        collector.bind(("127.0.0.1", 0))
        if listens:
            collector.listen()
        endpoint = f"http://127.0.0.1:{collector.getsockname()[1]}"
        tracing.configure(endpoint, sample_ratio=1.0, service="test", node="test")
        for _ in range(spans_left):
            tracing.failure("send", time.time_ns(), "internal", {})
        began = time.monotonic()
        tracing.shutdown()
        assert time.monotonic() - began < 2.2
    assert not tracing.enabled()
