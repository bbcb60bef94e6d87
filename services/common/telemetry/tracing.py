"""Traces: one sampled message followed through gRPC metadata, batch items and Kafka headers. Off by default.

    begin ──▶ a root span, decided about here        span, batch, record ──▶ go on with what was sampled
    failure ──▶ a span of something that failed without having been sampled

A batch holds many messages, so a trace travels with its item, as the text of W3C `traceparent` ("" = not sampled).
A batch is worked on inside the span of its first traced item, and each other traced item gets a span of its own for the
same time, linked to that one: so every trace shows every hop.

Guarantees: while tracing is off, each function costs one comparison. Nothing here raises because a collector is away,
and ending waits `SHUTDOWN_S` for it at most: a node has to end within the time that its pod has.
Does not know: who calls.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, StatusCode, TraceFlags, Tracer

HEADER: Final = "traceparent"
SHUTDOWN_S: Final = 2.0
_CUT_OFF_S: Final = 0.5  # of it: for the export under way to end when it is cut off
_NOTHING: Final[AbstractContextManager[Span | None]] = nullcontext(None)
_LENGTHS: Final = (2, 32, 16, 2)


class _State:
    """The process has one collector, as it has one set of metrics."""

    exporter: SpanExporter | None = None
    provider: TracerProvider | None = None
    tracer: Tracer | None = None
    always: Tracer | None = None


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
    processor = BatchSpanProcessor(exporter)
    _State.exporter = exporter
    sampler = ParentBased(TraceIdRatioBased(sample_ratio))
    _State.provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
    _State.provider.add_span_processor(processor)
    _State.tracer = _State.provider.get_tracer("tidings")
    always = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
    always.add_span_processor(processor)
    _State.always = always.get_tracer("tidings")


def shutdown() -> None:
    """Sends what is left, as far as the collector takes it in time, and turns tracing off.

    The library's own shutdown waits for up to 30 s, whatever it is told: so it runs in a thread, and the exporter is
    closed under it when the time is over.
    """
    provider, exporter = _State.provider, _State.exporter
    _State.exporter = _State.provider = _State.tracer = _State.always = None
    if provider is None or exporter is None:
        return
    ending = threading.Thread(target=provider.shutdown, name="traces' end", daemon=True)
    ending.start()
    ending.join(SHUTDOWN_S - _CUT_OFF_S)
    if ending.is_alive():
        exporter.shutdown()
        ending.join(_CUT_OFF_S)


def enabled() -> bool:
    return _State.tracer is not None


def begin(name: str, attributes: Mapping[str, Any]) -> Span | None:
    """Begins a trace where a message enters the cluster, for the sampled share; the caller ends it."""
    if _State.tracer is None:
        return None
    opened = _State.tracer.start_span(name, Context(), attributes=attributes)
    return opened if opened.is_recording() else None


def end_failed(span: Span, reason: str) -> None:
    """Ends what `begin` began."""
    span.set_status(StatusCode.ERROR, reason)
    span.end()


def failure(name: str, began_ns: int, reason: str, attributes: Mapping[str, Any]) -> str:
    """A trace of one span, of something that began then and failed now, whatever the sampling; its `traceparent`."""
    if _State.always is None:
        return ""
    opened = _State.always.start_span(name, Context(), attributes=attributes, start_time=began_ns)
    end_failed(opened, reason)
    return text_of(opened)


def span(name: str, traceparent: str, **attributes: Any) -> AbstractContextManager[Span | None]:
    """Goes on with a trace that came from elsewhere; None if that was not sampled."""
    if _State.tracer is None or not traceparent:
        return _NOTHING
    return _one(_State.tracer, name, traceparent, attributes)


def batch(name: str, traceparents: Iterable[str], **attributes: Any) -> AbstractContextManager[Span | None]:
    """A span for each trace in a batch that is worked on at once; the first is the one that is open."""
    if _State.tracer is None:
        return _NOTHING
    sampled = list(dict.fromkeys(filter(None, traceparents)))
    if not sampled:
        return _NOTHING
    if len(sampled) == 1:
        return _one(_State.tracer, name, sampled[0], attributes)
    return _many(_State.tracer, name, sampled, attributes)


def record(name: str, traceparent: str, began_ns: int, **attributes: Any) -> None:
    """A span of that trace which began then and ends now."""
    if _State.tracer is None or (context := _context(traceparent)) is None:
        return
    _State.tracer.start_span(name, _under(context), attributes=attributes, start_time=began_ns).end()


def current() -> str:
    """The `traceparent` of the span that is open here; "" if there is none that is sampled."""
    return "" if _State.tracer is None else text_of(trace.get_current_span())


def text_of(span: Span) -> str:
    """The `traceparent` of a span; "" if it is not sampled."""
    context = span.get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def id_of(traceparent: str) -> str:
    """The trace id in it; "" if there is none."""
    return traceparent.split("-")[1] if traceparent else ""


def exemplar(traceparent: str) -> dict[str, str] | None:
    """What links a histogram's bucket to a trace."""
    return {"trace_id": id_of(traceparent)} if traceparent else None


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
def _one(tracer: Tracer, name: str, traceparent: str, attributes: dict[str, Any]) -> Iterator[Span | None]:
    context = _context(traceparent)
    if context is None:
        yield None
        return
    with tracer.start_as_current_span(name, _under(context), attributes=attributes) as opened:
        yield opened if opened.is_recording() else None


@contextmanager
def _many(tracer: Tracer, name: str, traceparents: list[str], attributes: dict[str, Any]) -> Iterator[Span | None]:
    with _one(tracer, name, traceparents[0], attributes) as first:
        links = [Link(first.get_span_context())] if first is not None else []
        others = [
            tracer.start_span(name, _under(context), attributes=attributes, links=links)
            for context in map(_context, traceparents[1:])
            if context is not None
        ]
        try:
            yield first
        except BaseException as error:
            for other in others:
                other.set_status(StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            for other in others:
                other.end()


def _under(context: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


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
