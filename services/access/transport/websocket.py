"""WebSocket: one frame a message, binary for protobuf, text for JSON.

picows parses and unmasks; this module reassembles fragmented messages, frames what goes out, and closes with the code
of the goodbye. Frames of a server are not masked, so a header is two to ten bytes and the frame of a push is the same
for every connection with one codec: it is built once and written to the stream below picows. (uvloop writes at once, a
system call each time; a batch's pushes to one connection are one frame, so there is little to gather.)

What picows does not tell its listener, that a message over the limit was announced, it tells its logger before it
closes: so each connection is its own logger (`error`), and says goodbye 4504 before picows gets to 1009. The header is
all that was read of such a message.

Guarantees: a message over the limit (a lower one until the session is stored, see arrival.py) is refused before its
payload is kept, also in fragments; control frames count as life and are answered; errors of the WebSocket protocol,
codes that no close frame may have among them, close with 1002, text that is not UTF-8 with 1007, without a goodbye;
nothing behind a close frame is acted upon.

Does not know: what is in a frame, sessions, who is let in (web_server.py).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest
from picows import WSUpgradeResponseWithListener as Upgrade
from picows.common import WSProtocolError

from services.access.connection.connection import Connection
from services.access.connection.ports import TransportName
from services.access.session.events import EndRequested
from services.access.transport.arrival import Arrival
from services.access.transport.http import BUSY_S
from services.access.transport.web_frames import framed, is_text, may_be_sent
from services.common.telemetry import metrics
from tidings_protocol import close
from tidings_protocol.wire.codec import Codec

if TYPE_CHECKING:
    from services.access.transport.web_server import WebSocketServer

REASON_BYTES_MAX: Final = 120
FRAGMENTS_MAX: Final = 1024
TEXT, BINARY, CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
_OVER_LIMIT: Final = 1009
_CONTROL_HEADERS: Final[Any] = None
_OPENED: Final = metrics.CONNECTIONS_OPENED.labels("ws")


class WebSocket(WSListener):
    """One WebSocket: picows' listener, its logger, and the transport of a connection."""

    __slots__ = (
        "_binary", "_closed", "_connection", "_fragments", "_limit", "_server", "_size", "_stream", "_ws", "address",
        "arrival", "codec", "traffic",
    )  # fmt: skip

    def __init__(self, server: WebSocketServer) -> None:
        self._server = server
        self.traffic = server.traffic  # read for every frame: cheaper than a property
        self._connection: Connection | None = None
        self._ws: WSTransport | None = None
        self._stream: asyncio.Transport | None = None
        self._fragments: list[bytes] | None = None
        self._binary = False  # of the message whose fragments are kept
        self._size = 0
        self._limit = min(server.limits.early_bytes_max, server.limits.frame_bytes_max)
        self._closed = False  # the peer's close frame came: nothing behind it counts
        self.arrival: Arrival | None = None  # until the session is stored
        self.address = ""
        self.codec: Codec | None = None

    def accept(self, request: WSUpgradeRequest) -> Upgrade:
        return self._server.upgrade(request, self)

    # ---- what picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        assert self.codec is not None
        self._ws = transport
        self._stream = stream = transport.underlying_transport
        # 1.5 KB a connection that nobody reads again.
        transport.request.headers = transport.response.headers = _CONTROL_HEADERS
        stream.set_write_buffer_limits(high=self._server.limits.outbox_bytes_max)
        _OPENED.inc()
        self._connection = Connection(self._server.node, self, self.codec)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        connection = self._connection
        if connection is None or self._closed:
            return
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise _violation("reserved bits are set: send none, since no extension was agreed on")
        if kind in (TEXT, BINARY):
            if self._fragments is not None:
                raise _violation("a new message began within a fragmented one: end that first")
            if frame.fin:
                self._receive(connection, frame.get_payload_as_bytes(), kind == BINARY)
            else:
                self._fragments, self._size, self._binary = [], 0, kind == BINARY
                self._gather(connection, frame)
        elif kind == CONTINUATION:
            if self._fragments is None:
                raise _violation("a continuation came without a beginning: send that first")
            self._gather(connection, frame)
        else:
            self._control(connection, transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' signature
        connection, self._connection = self._connection, None
        self._fragments = self.arrival = None
        if connection is not None:
            connection.lost()

    def pause_writing(self) -> None:
        if self._connection is not None:
            self._connection.block()

    def resume_writing(self) -> None:
        if self._connection is not None:
            self._connection.unblock()

    def isEnabledFor(self, level: int) -> bool:  # noqa: ARG002, N802 - logging's name
        return False

    def error(self, message: str, *args: object) -> None:  # noqa: ARG002
        """picows is about to close because of this: (code, sentence)."""
        problem = args[0] if args else None
        if self._connection is not None and isinstance(problem, tuple) and problem[0] == _OVER_LIMIT:
            self.refuse_early()

    def info(self, message: str, *_: object) -> None:
        if message.startswith("Handshake timeout"):
            metrics.CONNECTIONS_REFUSED.labels("slow").inc()

    def debug(self, *_: object) -> None: ...

    warning = log = exception = debug

    # ---- what its arrival calls

    def refuse_early(self) -> None:
        """A message over the limit of this moment was announced."""
        if self._connection is not None:
            until = " until it is welcomed" if self.arrival is not None else ""
            self._connection.refuse_size(f"a frame may have {self._limit} bytes{until}: send less at once")

    def overflow(self) -> bool:
        """All connections without a session together hold too much; False: this one is no connection yet."""
        if self._connection is None:
            return False
        self._connection.handle(EndRequested(close.OVERLOADED, retry_after_ms=round(BUSY_S * 1000)))
        return True

    # ---- what the connection calls

    @property
    def name(self) -> TransportName:
        return "ws"

    def admit(self) -> None:
        arrival, self.arrival = self.arrival, None
        self._limit = self._server.limits.frame_bytes_max
        if arrival is not None:
            arrival.admit()

    @property
    def waiting_bytes(self) -> int:
        return self._stream.get_write_buffer_size() if self._stream is not None else 0

    def wrap(self, frame: bytes) -> bytes:
        assert self.codec is not None
        return framed(frame, 0x82 if self.codec.binary else 0x81)

    def write(self, data: bytes) -> None:
        assert self._stream is not None
        self._stream.write(data)

    def probe(self) -> bool:
        self.write(b"\x89\x00")
        return True

    def pause_reading(self) -> None:
        if self._stream is not None and not self._stream.is_closing():
            self._stream.pause_reading()

    def resume_reading(self) -> None:
        if self._stream is not None and not self._stream.is_closing():
            self._stream.resume_reading()

    def close(self, code: int, reason: str) -> None:
        assert self._ws is not None
        self._ws.send_close(code, reason[:REASON_BYTES_MAX])  # type: ignore[arg-type]  # any number

    def abort(self) -> None:
        assert self._ws is not None
        self._ws.disconnect(graceful=False)

    # ---- inside

    def _receive(self, connection: Connection, data: bytes, binary: bool) -> None:
        assert self.codec is not None
        if not binary and not is_text(data):
            raise WSProtocolError(WSCloseCode.INVALID_TEXT, "a text message is not UTF-8: send it as UTF-8")
        if binary != self.codec.binary:
            wanted = "binary" if self.codec.binary else "text"
            connection.refuse_frame(f"this connection speaks {self.codec.subprotocol}: send {wanted} messages")
            return
        connection.receive(data)

    def _gather(self, connection: Connection, frame: WSFrame) -> None:
        assert self._fragments is not None
        self._size += frame.payload_size
        if self._size > self._limit or len(self._fragments) >= FRAGMENTS_MAX:
            self._fragments = []
            connection.refuse_size(
                f"a frame may have {self._limit} bytes in {FRAGMENTS_MAX} fragments: send less at once"
            )
            return
        self._fragments.append(frame.get_payload_as_bytes())
        if not frame.fin:
            connection.receive_part(0, alive=False)  # its bytes count when the message is whole
        else:
            fragments, self._fragments = self._fragments, None
            self._receive(connection, b"".join(fragments), self._binary)

    def _control(self, connection: Connection, transport: WSTransport, frame: WSFrame) -> None:
        answers = connection.receive_part(frame.payload_size, alive=True)
        if frame.msg_type == WSMsgType.PING:
            # Who pings and does not read gets no answers: they would pile up.
            if answers and not transport.is_close_frame_sent and not transport.is_disconnected:
                self.write(framed(frame.get_payload_as_bytes(), 0x8A))
        elif frame.msg_type == WSMsgType.CLOSE:
            self._closed = True
            code: Any = frame.get_close_code() if frame.payload_size else close.NORMAL
            if not may_be_sent(code):
                raise _violation("no close frame may have this code: use 1000")
            if not transport.is_close_frame_sent:
                transport.send_close(code)
            transport.disconnect()


def _violation(sentence: str) -> WSProtocolError:
    return WSProtocolError(WSCloseCode.PROTOCOL_ERROR, sentence)
