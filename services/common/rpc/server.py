"""Answers calls of other nodes over gRPC: calls of their own, and those that come over streams (stream.py).

    async with serve("127.0.0.1:8300", [(logic_pb2_grpc.add_LogicServicer_to_server, servicer)]):
        ...

Guarantees: a call without a deadline is refused; a TidingsError reaches the caller as it is; any other exception is
logged with its stack and reaches the caller as Internal without it; each call is counted and timed, and worked on
inside the trace that it belongs to; leaving lets what is under way end within `grace_s`, then cuts it.

Does not know: what the services do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from protos.tidings.internal.v1 import calls_pb2
from services.common.rpc.contract import MESSAGE_BYTES_MAX, Service, label_of
from services.common.rpc.stream import CONVERSE, Answering
from services.common.rpc.tls import Tls
from services.common.rpc.translate import status_of, trailer_of
from services.common.telemetry import logs, metrics, tracing
from tidings_protocol.errors import BadRequest, Internal, TidingsError

PENDING_MAX = 10_000
SERVER_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # A second process on the same port must fail to start, not take half of the calls.
    ("grpc.so_reuseport", 0),
    # Allows the keep-alive that the channels have.
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Calls that wait for the event loop to take them. Of more than 1,000 gRPC would drop some by chance, with a status
    # that says nothing, before `calls_max` can refuse them.
    ("grpc.server.max_pending_requests", PENDING_MAX),
    ("grpc.server.max_pending_requests_hard_limit", PENDING_MAX),
)

Behaviour = Callable[[Any, Any], Awaitable[Any]]

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RpcServer:
    """Where it listens: the port is the real one if 0 was asked for."""

    address: str


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service, as the generated code registers it."""

    name: str
    behaviour: Behaviour
    request_from: Callable[[bytes], Any]
    reply_to: Callable[[Any], bytes]


@asynccontextmanager
async def serve(
    listen: str, services: Sequence[Service], *, tls: Tls | None = None, grace_s: float = 5.0, calls_max: int = 2_000
) -> AsyncIterator[RpcServer]:
    """Listens and answers while it is entered. Raises OSError if it cannot listen there.

    `calls_max`: more calls at once than this are refused as Overloaded. Beyond them and PENDING_MAX that wait,
    gRPC drops what comes: Dropped.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=calls_max)
    served = methods_of(services)
    for service, methods in served.items():
        handlers = {method.name.rpartition("/")[2]: _handler(method) for method in methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_registered_method_handlers(service, handlers)  # type: ignore[attr-defined]
    by_name = {method.name: method for methods in served.values() for method in methods}
    answering = Answering(by_name, answer, calls_max=calls_max)
    server.add_generic_rpc_handlers((_streams(answering),))
    port = _bind(server, listen, tls)
    await server.start()
    try:
        yield RpcServer(f"{listen.rpartition(':')[0]}:{port}")
    finally:
        answering.end()
        await server.stop(grace_s)


def methods_of(services: Sequence[Service]) -> Mapping[str, list[Method]]:
    """The methods by the name of their service, as the generated code would register them."""
    found = _Registrations()
    for add, servicer in services:
        add(servicer, found)
    return found.methods


async def answer(method: str, behaviour: Behaviour, request: Any, context: Any) -> Any:
    """The reply, or the TidingsError for the caller: counted, timed, traced."""
    began = time.monotonic()
    code = "ok"
    try:
        if context.time_remaining() is None:
            raise BadRequest(f"a call of {method} needs a deadline: give it one")
        with tracing.span(label_of(method), tracing.extract(context.invocation_metadata() or ())):
            return await _result(method, behaviour, request, context)
    except TidingsError as error:
        code = error.label
        raise
    except asyncio.CancelledError:
        code = "cancelled"
        raise
    finally:
        metrics.RPC_SERVER_SECONDS.labels(label_of(method), code).observe(time.monotonic() - began)


async def _result(method: str, behaviour: Behaviour, request: Any, context: Any) -> Any:
    """The reply; inside the trace, so that the line in the log has its id."""
    try:
        return await behaviour(request, context)
    except TidingsError:
        raise
    except Exception:
        log.exception("call failed", method=method)
        raise Internal(
            f"{label_of(method)} failed because of a defect: tell the operator, who finds it in the log of the node"
        ) from None


class _Registrations:
    """Looks like a server to the generated code and notes what it registers."""

    def __init__(self) -> None:
        self.methods: dict[str, list[Method]] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignores these: the same methods come by name, below."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        for name, handler in handlers.items():
            behaviour = handler.unary_unary
            assert behaviour is not None, f"{service}/{name}: calls between nodes are one request and one reply"
            assert handler.request_deserializer is not None
            assert handler.response_serializer is not None
            method = Method(f"/{service}/{name}", behaviour, handler.request_deserializer, handler.response_serializer)
            self.methods.setdefault(service, []).append(method)


def _handler(method: Method) -> grpc.RpcMethodHandler[Any, Any]:
    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await answer(method.name, method.behaviour, request, context)
        except TidingsError as error:
            await context.abort(status_of(error), error.message, trailer_of(error))

    return grpc.unary_unary_rpc_method_handler(handle, method.request_from, method.reply_to)


def _streams(answering: Answering) -> grpc.GenericRpcHandler[Any, Any]:
    service, _, method = CONVERSE.strip("/").partition("/")
    handler = grpc.stream_stream_rpc_method_handler(
        answering.converse, calls_pb2.CallBatch.FromString, calls_pb2.ReplyBatch.SerializeToString
    )
    return grpc.method_handlers_generic_handler(service, {method: handler})


def _bind(server: grpc.aio.Server, listen: str, tls: Tls | None) -> int:
    try:
        if tls is not None:
            port = server.add_secure_port(listen, tls.server_credentials())
        else:
            port = server.add_insecure_port(listen)
    except RuntimeError:
        port = 0
    if port == 0:
        raise OSError(
            f"cannot listen on {listen}: the port is in use, or the address is not one of this machine; set another"
        )
    return port
