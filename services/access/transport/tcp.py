"""TCP: a 4-byte length, then one protobuf frame.

Guarantees: a frame over the limit (a lower one until the session is stored, see arrival.py) is refused as soon as its
length is read; between two reads less than one frame is kept. A PROXY header that nobody expected is told as such.
After a goodbye the sending side is shut and the rest of what the peer sends is read and dropped, until it closes or the
session's time to linger is over: so that the goodbye is not lost in a reset.

Does not know: what is in a frame, sessions.
"""

from __future__ import annotations

import asyncio
from typing import cast

from services.access.admission.admission import Door
from services.access.admission.proxy_header import NOT_TRUSTED, VERSION_1, VERSION_2
from services.access.connection.connection import Connection
from services.access.connection.ports import TransportName
from services.access.session.events import EndRequested
from services.access.transport.arrival import Arrival
from services.access.transport.listening import Listener
from services.common.telemetry import metrics
from tidings_protocol import close
from tidings_protocol.wire.codec import PROTO
from tidings_protocol.wire.framing import PREFIX_BYTES, FrameSplitter, framed

BUSY_S = 1.0
PROXY_STARTS = frozenset({VERSION_1[:PREFIX_BYTES], VERSION_2[:PREFIX_BYTES]})
_OPENED = metrics.CONNECTIONS_OPENED.labels("tcp")


class TcpServer(Listener):
    """Listens while it is entered."""

    def protocol(self, address: str = "") -> asyncio.BaseProtocol:
        stream = TcpStream(self)
        # Without TLS a connection asks to come in as soon as it is there.
        stream.refused = self._tls is not None and not self.door.reserve(stream)
        return TcpArrival(self.door, stream, address)


class TcpArrival(Arrival):
    """Until the session is stored."""

    __slots__ = ("_began",)

    inner: TcpStream

    def __init__(self, door: Door, stream: TcpStream, address: str) -> None:
        super().__init__(door, stream, address)
        self._began = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.inner.arrival = self
        super().connection_made(transport)

    def receive(self, data: bytes) -> None:
        if len(self._began) < PREFIX_BYTES:
            self._began += data[: PREFIX_BYTES - len(self._began)]
            if self._began in PROXY_STARTS:
                self.ignore()
                self.inner.refuse(NOT_TRUSTED)
                return
        self.inner.data_received(data)

    def overflow(self) -> None:
        self.ignore()
        self.inner.overflow()


class TcpStream(asyncio.Protocol):
    """One stream: the protocol of its socket, and the transport of a connection."""

    __slots__ = (
        "__weakref__", "_connection", "_server", "_splitter", "_stream", "address", "arrival", "refused", "traffic",
    )  # fmt: skip

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self.traffic = server.traffic  # read for every frame: cheaper than a property
        self._splitter: FrameSplitter | None = None
        self._connection: Connection | None = None
        self._stream: asyncio.Transport | None = None
        self.arrival: Arrival | None = None  # until the session is stored
        self.address = ""
        self.refused = False  # before it was there

    # ---- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, but not the class.
        self._stream = stream = cast("asyncio.Transport", transport)
        self.address = self.arrival.address if self.arrival is not None else ""
        self._server.door.release(self)
        wait_s = BUSY_S if self.refused else self._server.door.admission_delay_s(self.address)
        if wait_s:
            self._turn_away(wait_s)
            return
        stream.set_write_buffer_limits(high=self._server.limits.outbox_bytes_max)
        _OPENED.inc()
        limits = self._server.limits
        self._splitter = FrameSplitter(min(limits.early_bytes_max, limits.frame_bytes_max))
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
        self._splitter = self.arrival = None
        if connection is not None:
            connection.lost()

    def pause_writing(self) -> None:
        if self._connection is not None:
            self._connection.block()

    def resume_writing(self) -> None:
        if self._connection is not None:
            self._connection.unblock()

    # ---- what its arrival calls

    def refuse(self, why: str) -> None:
        """What came can be no frame."""
        self._splitter = None
        if self._connection is not None:
            self._connection.refuse_frame(why)

    def overflow(self) -> None:
        """All connections without a session together hold too much."""
        self._splitter = None
        if self._connection is not None:
            self._connection.handle(EndRequested(close.OVERLOADED, retry_after_ms=round(BUSY_S * 1000)))

    # ---- what the connection calls

    @property
    def name(self) -> TransportName:
        return "tcp"

    def admit(self) -> None:
        arrival, self.arrival = self.arrival, None
        if self._splitter is not None:
            self._splitter.frame_bytes_max = self._server.limits.frame_bytes_max
        if arrival is not None:
            arrival.admit()

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
        # Over TLS it would linger, and be counted nowhere.
        asyncio.get_running_loop().call_later(BUSY_S, self._stream.abort)
