"""A collector of traces that keeps what it gets: what a Jaeger or Tempo would be told, over OTLP and gRPC."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service_grpc


@dataclass(frozen=True, slots=True)
class SeenSpan:
    name: str
    service: str
    node: str
    parent: str
    attributes: dict[str, str]


@dataclass(slots=True)
class Collector(service_grpc.TraceServiceServicer):
    """Spans by trace id."""

    address: str = ""
    traces: dict[str, list[SeenSpan]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name
        with self._lock:
            for resource in request.resource_spans:
                who = _texts(resource.resource.attributes)
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        seen = SeenSpan(
                            span.name,
                            who["service.name"],
                            who["service.instance.id"],
                            span.parent_span_id.hex(),
                            _texts(span.attributes),
                        )
                        self.traces.setdefault(span.trace_id.hex(), []).append(seen)
        return service_pb2.ExportTraceServiceResponse()

    def whole(self) -> dict[str, list[SeenSpan]]:
        """Traces whose root has come."""
        with self._lock:
            return {key: list(spans) for key, spans in self.traces.items() if any(not span.parent for span in spans)}


@contextmanager
def collecting() -> Iterator[Collector]:
    server = grpc.server(ThreadPoolExecutor(2))
    collector = Collector()
    service_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()


def _texts(attributes: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in attributes}
