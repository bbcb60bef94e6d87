"""Traces kept in memory, for tests of what they show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.common.telemetry import tracing


@contextmanager
def recording(sample_ratio: float = 1.0) -> Iterator[InMemorySpanExporter]:
    """Tracing is on; what ends is kept."""
    exporter = InMemorySpanExporter()
    tracing.configure("", sample_ratio=sample_ratio, service="test", node="test", exporter=exporter)
    try:
        yield exporter
    finally:
        tracing.shutdown()


@contextmanager
def a_trace(name: str = "send") -> Iterator[str]:
    """A root span that is open here; its `traceparent`."""
    root = tracing.begin(name, {})
    assert root is not None
    with trace.use_span(root, end_on_exit=True):
        yield tracing.text_of(root)


def ended(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, ...]:
    assert tracing._State.provider is not None
    tracing._State.provider.force_flush()
    return exporter.get_finished_spans()
