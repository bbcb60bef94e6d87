"""Traces: nothing while it is off; one trace over items, headers and processes while it is on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.common.telemetry import tracing


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.configure("", sample_ratio=1.0, service="access", node="a", exporter=exporter)
    yield exporter
    tracing.shutdown()


def finished(exporter: InMemorySpanExporter) -> dict[str, str]:
    """Names of the spans that ended, with the name of each one's parent."""
    assert tracing._State.provider is not None
    tracing._State.provider.force_flush()
    ended = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in ended if span.context}
    return {span.name: names.get(span.parent.span_id, "") if span.parent else "" for span in ended}


def test_without_an_endpoint_nothing_is_traced() -> None:
    tracing.configure("", sample_ratio=1.0, service="access", node="a")
    assert not tracing.enabled()
    with tracing.root_span("send") as span:
        assert span is None
        assert tracing.current() == ""
        assert tracing.inject() == []
    assert tracing.extract([("traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")]) == ""
    assert tracing.first(["a"]) == ""


def test_a_trace_goes_on_from_the_text_in_an_item(spans: InMemorySpanExporter) -> None:
    with tracing.root_span("send"):
        carried = tracing.current()
    with tracing.span("store", carried, items=3):
        pass
    assert finished(spans) == {"send": "", "store": "send"}


def test_a_trace_goes_on_through_the_headers_of_a_record(spans: InMemorySpanExporter) -> None:
    with tracing.root_span("publish"):
        headers = tracing.inject()
    with tracing.span("deliver", tracing.extract([("other", b"x"), *headers])):
        pass
    assert finished(spans) == {"publish": "", "deliver": "publish"}


def test_what_was_not_sampled_stays_without_spans(spans: InMemorySpanExporter) -> None:
    with tracing.span("store", "") as span:
        assert span is None
    assert finished(spans) == {}


def test_a_ratio_of_0_samples_nothing() -> None:
    exporter = InMemorySpanExporter()
    tracing.configure("", sample_ratio=0.0, service="access", node="a", exporter=exporter)
    try:
        with tracing.root_span("send") as span:
            assert span is None
            assert tracing.current() == ""
        assert finished(exporter) == {}
    finally:
        tracing.shutdown()


@pytest.mark.parametrize("wrong", ["x", "00-1-2-01", f"00-{'g' * 32}-{'1' * 16}-01", f"00-{'0' * 32}-{'1' * 16}-01"])
def test_a_header_that_makes_no_sense_is_left_alone(spans: InMemorySpanExporter, wrong: str) -> None:
    assert tracing.extract([("traceparent", wrong)]) == ""
    with tracing.span("store", wrong) as span:
        assert span is None


def test_a_batch_is_worked_on_in_the_trace_of_its_first_traced_item(spans: InMemorySpanExporter) -> None:
    assert tracing.first(["", "one", "two"]) == "one"
    assert tracing.first(["", ""]) == ""


def test_an_exemplar_names_the_trace(spans: InMemorySpanExporter) -> None:
    with tracing.root_span("send"):
        carried = tracing.current()
    assert tracing.exemplar(carried) == {"trace_id": carried.split("-")[1]}
    assert tracing.exemplar("") is None
