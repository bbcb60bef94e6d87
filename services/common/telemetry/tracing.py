"""Traces: one sampled message followed through gRPC metadata, batch items and Kafka headers. Off by default.

A batch holds many messages, so a trace travels with its item, as the text of W3C `traceparent` ("" = not sampled),
and a batch is worked on inside the span of its first traced item. `root_span` decides about sampling, `span` only
goes on with what was sampled.

Guarantees: while tracing is off, each function costs one comparison. Nothing here raises because a collector is away.
Does not know: who calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags, Tracer

HEADER: Final = "traceparent"
_NOTHING: Final[AbstractContextManager[Span | None]] = nullcontext(None)
_LENGTHS: Final = (2, 32, 16, 2)


class _State:
    """The process has one collector, as it has one set of metrics."""

    provider: TracerProvider | None = None
    tracer: Tracer | None = None


def configure(
    endpoint: str, *, sample_ratio: float, service: str, node: str, exporter: SpanExporter | None = None
) -> None:
    """Turns tracing on if there is an endpoint (or an exporter of one's own); called once by the process."""
    if not endpoint and exporter is None:
        return
    if exporter is None:
        # The exporter brings in a lot of modules; a process without tracing does not pay for them.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https://"))
    resource = Resource.create({"service.name": f"tidings-{service}", "service.instance.id": node})
    _State.provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(sample_ratio)), resource=resource)
    _State.provider.add_span_processor(BatchSpanProcessor(exporter))
    _State.tracer = _State.provider.get_tracer("tidings")


def shutdown() -> None:
    """Sends what is left and turns tracing off."""
    if _State.provider is not None:
        _State.provider.shutdown()
    _State.provider = _State.tracer = None


def enabled() -> bool:
    return _State.tracer is not None


def root_span(name: str, **attributes: Any) -> AbstractContextManager[Span | None]:
    """Begins a trace where a message enters the cluster, for the sampled share; None in the others."""
    if _State.tracer is None:
        return _NOTHING
    return _started(_State.tracer, name, None, attributes)


def span(name: str, traceparent: str, **attributes: Any) -> AbstractContextManager[Span | None]:
    """Goes on with a trace that came from elsewhere; None if that was not sampled."""
    if _State.tracer is None or not traceparent:
        return _NOTHING
    return _started(_State.tracer, name, traceparent, attributes)


def current() -> str:
    """The `traceparent` of the span that is open here; "" if there is none that is sampled."""
    if _State.tracer is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def first(traceparents: Iterable[str]) -> str:
    """The trace that a batch is worked on in: of its first traced item; "" if there is none, or tracing is off."""
    if _State.tracer is None:
        return ""
    return next(filter(None, traceparents), "")


def exemplar(traceparent: str) -> dict[str, str] | None:
    """What links a histogram's bucket to a trace."""
    return {"trace_id": traceparent.split("-")[1]} if traceparent else None


def inject() -> list[tuple[str, bytes]]:
    """Headers for a Kafka record (or gRPC metadata, decoded): empty if nothing is traced here."""
    traceparent = current()
    return [(HEADER, traceparent.encode())] if traceparent else []


def extract(headers: Iterable[tuple[str, bytes | str]]) -> str:
    """The `traceparent` among a record's headers or a call's metadata; "" if there is none that makes sense."""
    if _State.tracer is None:
        return ""
    for name, value in headers:
        if name == HEADER:
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
            return text if _context(text) is not None else ""
    return ""


@contextmanager
def _started(tracer: Tracer, name: str, traceparent: str | None, attributes: dict[str, Any]) -> Iterator[Span | None]:
    parent = None
    if traceparent is not None:
        context = _context(traceparent)
        if context is None:
            yield None
            return
        parent = trace.set_span_in_context(NonRecordingSpan(context))
    with tracer.start_as_current_span(name, context=parent, attributes=attributes) as opened:
        yield opened if opened.is_recording() else None


def _context(traceparent: str) -> SpanContext | None:
    parts = traceparent.split("-")
    if tuple(map(len, parts)) != _LENGTHS:
        return None
    try:
        trace_id, span_id, flags = int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except ValueError:
        return None
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None
