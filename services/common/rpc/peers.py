"""Calls to other nodes over gRPC.

Calls that are made all the time go over one stream for each node (stream.py), the others are calls of their own; a node
of a version without streams gets all of them that way.

Guarantees: one channel for an address, however many calls; every call has a deadline; a node that comes back is called
again within a second of it; channels that nobody has used for a while are closed when another one is opened, so that
their number follows the nodes that are there; after a renewal of the certificate calls go over channels with the new
one; errors are those of the tree.

Does not know: rings, retries (router.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from protos.tidings.internal.v1 import calls_pb2
from services.common.registry.contract import NodeRecord
from services.common.rpc.contract import (
    MESSAGE_BYTES_MAX,
    STREAMED,
    STREAMED_BYTES_MAX,
    Reply,
    TimedOut,
    Unreachable,
    label_of,
)
from services.common.rpc.stream import CONVERSE, Asking, NoStreams
from services.common.rpc.tls import Tls
from services.common.rpc.translate import error_from
from services.common.scope import Owned, TaskScope
from services.common.telemetry import metrics, tracing
from tidings_protocol.errors import Internal, TidingsError

CHANNEL_OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # A peer that vanished without a word is noticed after about 10 s, also by a channel without calls.
    ("grpc.keepalive_time_ms", 8_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # The least is also the time that a connection may take, so it is not as short as the first pause.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Repeating is the router's business.
    ("grpc.enable_retries", 0),
    # Nodes talk to each other, not through a proxy that the environment names for the outer world.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    # Two users of one address in one process (tests, tools) keep apart.
    ("grpc.use_local_subchannel_pool", 1),
)

RENEWAL_GRACE_S = 10.0


def open_channel(address: str, tls: Tls | None) -> grpc.aio.Channel:
    """One channel, for who has no need of Peers. Raises OSError if a file of `tls` cannot be read."""
    return _open_channel(address, tls.channel_credentials() if tls else None, _options(tls))


def _open_channel(
    address: str, credentials: grpc.ChannelCredentials | None, options: Sequence[tuple[str, Any]]
) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


def _options(tls: Tls | None) -> Sequence[tuple[str, Any]]:
    if tls is None or not tls.server_name:
        return CHANNEL_OPTIONS
    return (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", tls.server_name))


class _Channel:
    """A channel with what is known of its use."""

    __slots__ = ("calls", "channel", "methods", "stream", "streams", "used_s")

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.methods: dict[str, Any] = {}
        self.stream: Asking | None = None
        self.streams = True
        self.calls = 0
        self.used_s = 0.0


class Peers(Owned):
    """Calls by gRPC. Use it as an async context manager; leaving it closes all channels."""

    def __init__(self, *, tls: Tls | None = None, idle_s: float = 120.0) -> None:
        """`idle_s`: after so long without a call a channel may be closed."""
        self._tls = tls
        self._credentials = tls.channel_credentials() if tls else None
        if tls is not None:
            tls.when_renewed(self._renew)
        self._options = _options(tls)
        self._idle_s = idle_s
        self._channels: dict[str, _Channel] = {}
        self._scope = TaskScope(drain=True)

    async def call(
        self, method: str, request: Message, reply_type: type[Reply], *, node: NodeRecord, timeout_s: float
    ) -> Reply:
        channel = self._channels.get(node.rpc) or self._open(node.rpc)
        began = channel.used_s = time.monotonic()
        channel.calls += 1
        code = "ok"
        try:
            return await self._call(channel, method, request, reply_type, node.rpc, timeout_s)
        except TidingsError as error:
            code = _code(error)
            raise
        except asyncio.CancelledError:
            code = "cancelled"
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Unreachable(f"the channel to {node.rpc} was closed: try again") from None
        finally:
            channel.calls -= 1
            metrics.RPC_CLIENT_SECONDS.labels(label_of(method), code).observe(time.monotonic() - began)

    async def _running(self) -> AsyncIterator[None]:
        await self._scope.__aenter__()
        try:
            yield
        finally:
            for address in list(self._channels):
                self._close(address)
            # Without the error: closing is worth waiting for in any case.
            await self._scope.__aexit__(None, None, None)

    async def _call(
        self, channel: _Channel, method: str, request: Message, reply_type: type[Reply], address: str, timeout_s: float
    ) -> Reply:
        traceparent = tracing.current()
        if channel.streams and label_of(method) in STREAMED:
            body = request.SerializeToString()
            if len(body) <= STREAMED_BYTES_MAX:
                try:
                    stream = self._stream(channel, address)
                    return _read(reply_type, await stream.ask(method, body, timeout_s, traceparent), method)
                except NoStreams:
                    channel.streams = False
        call = channel.methods.get(method)
        if call is None:
            call = channel.methods[method] = channel.channel.unary_unary(
                method,
                request_serializer=type(request).SerializeToString,
                response_deserializer=reply_type.FromString,
            )
        metadata = ((tracing.HEADER, traceparent),) if traceparent else None
        try:
            reply: Reply = await call(request, timeout=timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError as failure:
            raise error_from(failure, method, address) from None
        return reply

    def _stream(self, channel: _Channel, address: str) -> Asking:
        """The one that is open, or a new one."""
        stream = channel.stream
        if stream is None or stream.ended:
            converse = channel.channel.stream_stream(
                CONVERSE,
                request_serializer=calls_pb2.CallBatch.SerializeToString,
                response_deserializer=calls_pb2.ReplyBatch.FromString,
            )
            stream = channel.stream = Asking(converse(None), address)
            self._scope.spawn(stream.run(), name=f"stream to {address}")
        return stream

    def _open(self, address: str) -> _Channel:
        limit_s = time.monotonic() - self._idle_s
        for other, channel in list(self._channels.items()):
            if channel.calls == 0 and channel.used_s < limit_s:
                self._close(other)
        opened = _open_channel(address, self._credentials, self._options)
        metrics.RPC_CHANNELS.inc()
        return self._channels.setdefault(address, _Channel(opened))

    def _close(self, address: str, grace_s: float | None = None) -> None:
        metrics.RPC_CHANNELS.dec()
        self._scope.spawn(self._channels.pop(address).channel.close(grace_s), name=f"close channel to {address}")

    def _renew(self) -> None:
        """The certificate is another one: new channels from now on; what is under way may end on the old ones."""
        assert self._tls is not None
        self._credentials = self._tls.channel_credentials()
        for address in list(self._channels):
            self._close(address, RENEWAL_GRACE_S)


def _read(reply_type: type[Reply], body: bytes, method: str) -> Reply:
    try:
        return reply_type.FromString(body)
    except DecodeError:
        raise Internal(
            f"a reply of {method} cannot be read: that node may be of another version, give all nodes one"
        ) from None


def _code(error: TidingsError) -> str:
    return "deadline" if isinstance(error, TimedOut) else error.label
