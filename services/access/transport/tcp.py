"""TCP: a 4-byte length, then one protobuf frame.

Guarantees: a frame over the limit is refused as soon as its length is read; between two reads less than one frame is
kept. After a goodbye the sending side is shut and the rest of what the peer sends is read and dropped, until it closes
or the session's time to linger is over: so that the goodbye is not lost in a reset.

Does not know: what is in a frame, sessions.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import cast

from services.access.connection import Connection
from services.access.placement import TransportName
from services.access.ports import NodePort
from services.access.traffic import Traffic
from services.access.transport.listening import Door, Listener, StreamLimits
from services.common.telemetry import metrics
from services.common.wire import close
from services.common.wire.codec import PROTO
from services.common.wire.framing import FrameSplitter, framed

BUSY_S = 1.0
_OPENED = metrics.CONNECTIONS_OPENED.labels("tcp")


class TcpServer(Listener):
    """Listens while it is entered."""

    def __init__(
        self,
        node: NodePort,
        door: Door,
        traffic: Traffic,
        limits: StreamLimits,
        listening: socket.socket,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(listening, tls, limits.handshake_s)
        self._greets = tls is not None  # without TLS a connection asks to come in as soon as it is there
        self.node = node
        self.door = door
        self.traffic = traffic
        self.limits = limits

    def protocol(self) -> asyncio.BaseProtocol:
        stream = TcpStream(self)
        stream.refused = self._greets and not self.door.greet(stream)
        return stream


class TcpStream(asyncio.Protocol):
    """One stream: the protocol of its socket, and the transport of a connection."""

    __slots__ = ("__weakref__", "_connection", "_server", "_splitter", "_stream", "refused")

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._splitter: FrameSplitter | None = None
        self._connection: Connection | None = None
        self._stream: asyncio.Transport | None = None
        self.refused = False  # before it was there

    # ---- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, but not the class.
        self._stream = stream = cast("asyncio.Transport", transport)
        self._server.door.dismiss(self)
        wait_s = BUSY_S if self.refused else self._server.door.ask()
        if wait_s:
            self._turn_away(wait_s)
            return
        stream.set_write_buffer_limits(high=self._server.limits.outbox_bytes_max)
        _OPENED.inc()
        self._splitter = FrameSplitter(self._server.limits.frame_bytes_max)
        self._connection = Connection(self._server.node, self, PROTO)

    def data_received(self, data: bytes) -> None:
        connection, splitter = self._connection, self._splitter
        if connection is None or splitter is None:
            return
        for frame in splitter.receive(data):
            connection.receive(frame)
        if splitter.refusal is not None:
            self._splitter = None
            connection.refuse_size(splitter.refusal.message)

    def eof_received(self) -> bool:
        return False  # close: who says no more does not listen either

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        connection, self._connection = self._connection, None
        self._splitter = None
        if connection is not None:
            connection.lost()

    def pause_writing(self) -> None:
        if self._connection is not None:
            self._connection.block()

    def resume_writing(self) -> None:
        if self._connection is not None:
            self._connection.unblock()

    # ---- what the connection calls

    @property
    def name(self) -> TransportName:
        return "tcp"

    @property
    def traffic(self) -> Traffic:
        return self._server.traffic

    @property
    def waiting_bytes(self) -> int:
        return self._stream.get_write_buffer_size() if self._stream is not None else 0

    def wrap(self, frame: bytes) -> bytes:
        return framed(frame)

    def write(self, data: bytes) -> None:
        assert self._stream is not None
        self._stream.write(data)

    def probe(self) -> bool:
        return False

    def pause_reading(self) -> None:
        if self._stream is not None and not self._stream.is_closing():
            self._stream.pause_reading()

    def resume_reading(self) -> None:
        if self._stream is not None and not self._stream.is_closing():
            self._stream.resume_reading()

    def close(self, code: int, reason: str) -> None:  # noqa: ARG002 - TCP has neither
        assert self._stream is not None
        self._splitter = None
        if self._stream.is_closing():
            return
        if self._stream.can_write_eof():
            self._stream.write_eof()
        else:
            self._stream.close()

    def abort(self) -> None:
        assert self._stream is not None
        self._stream.abort()

    # ---- inside

    def _turn_away(self, wait_s: float) -> None:
        assert self._stream is not None
        goodbye = close.OVERLOADED.goodbye(retry_after_ms=round(wait_s * 1000))
        self._stream.write(framed(PROTO.encode_server(goodbye)))
        self._stream.close()
