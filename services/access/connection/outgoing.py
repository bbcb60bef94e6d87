"""What goes out on one connection: replies, errors, pushes, nudges, probes, and the goodbye.

What several answers of one turn of the event loop write is gathered, since each write is a call to the system. A client
that lacks something, or does not read (session/delivery_state.py), is told so by `lagging`: nothing more is pushed to
one that does not read, and it asks for what it missed.

Guarantees: nothing is written after the goodbye. What was gathered goes out before whatever is written after it. What
is pushed while the session is being stored goes out after the welcome, if that does not cover it.

Does not know: the node, what comes in, when which of these is right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Set as AbstractSet

from services.access.connection.identity import NOWHERE
from services.access.connection.ports import Transport
from services.access.connection.push_buffer import PushBuffer
from services.access.connection.traffic import DELIVER, label_of
from services.access.session.events import SayGoodbye
from services.access.session.heartbeat import ONLY_PONGS
from services.access.session.session import Phase, Session
from services.common.telemetry import logs, metrics
from tidings_protocol import client_pb2, close
from tidings_protocol.close import CloseReason
from tidings_protocol.errors import TidingsError
from tidings_protocol.wire.body import EncodedBody
from tidings_protocol.wire.codec import Codec

log = logs.get_logger(__name__)


class Outgoing(ABC):
    """The way out of a connection, which is itself what comes in and what follows."""

    __slots__ = (
        "_early", "_later", "closed_with", "codec", "delivery", "session", "session_id", "transport", "user",
    )  # fmt: skip

    def __init__(self, transport: Transport, codec: Codec, session: Session) -> None:
        self.transport = transport
        self.codec = codec
        self.session = session
        self.delivery = session.delivery
        # Of the identity, once more: each delivery reads them of each connection. Empty until the hello was right.
        self.user = ""
        self.session_id = ""
        self.closed_with = 0  # the code of its goodbye
        self._early: PushBuffer | None = None
        self._later: list[bytes] | None = None  # goes out at the end of this turn

    @abstractmethod
    def _flush_later(self) -> None:
        """Has `flush` called when this turn of the event loop ends."""

    @abstractmethod
    def _wake_at(self, due: float) -> None:
        """Has the session looked at then, if not before."""

    # ---- replies

    def send(self, frame: bytes, body: str) -> None:
        """An encoded frame, and what its body is: for the count of frames."""
        if self.session.phase is not Phase.CLOSING:
            transport = self.transport
            transport.traffic.frames_out[body] += 1
            self._write(transport.wrap(frame))

    def send_gathered(self, frame: bytes, body: str) -> None:
        """An encoded frame that goes out with others at the end of this turn of the event loop, or before whatever is
        written until then. For answers that come several at once."""
        if self.session.phase is not Phase.CLOSING:
            transport = self.transport
            transport.traffic.frames_out[body] += 1
            data = transport.wrap(frame)
            if self._later is None:
                self._later = [data]
                self._flush_later()
            else:
                self._later.append(data)

    def flush(self) -> None:
        """The turn of the event loop ends."""
        if self._later is not None:
            try:
                self._write(b"")
            except Exception as defect:  # noqa: BLE001 - the edge: as in `Connection.receive`
                self.abort_after(defect)

    def abort_after(self, defect: Exception) -> None:
        """Logs a defect that was met with this connection, and ends the connection, not its node."""
        log.error("connection failed", user=self.user, session=self.session_id, exc_info=defect)
        self.transport.abort()

    def _send_frame(self, frame: client_pb2.ServerFrame) -> None:
        if self.session.phase is not Phase.CLOSING:
            self.send(self.codec.encode_server(frame), frame.WhichOneof("body") or "")

    def _send_error(self, request_id: int, error: TidingsError) -> None:
        metrics.ERRORS.labels(error.label).inc()
        told = client_pb2.Error(
            code=error.code, message=error.message, retry_after_ms=error.retry_after_ms, next_part=error.next_part
        )
        self._send_frame(client_pb2.ServerFrame(id=request_id, error=told))

    def _write(self, data: bytes) -> None:
        if self._later is not None:
            later, self._later = self._later, None
            if data:
                later.append(data)
            data = b"".join(later)
        self.transport.traffic.bytes_out += len(data)
        self.transport.write(data)

    # ---- pushes

    def push(self, data: bytes, number: int, now: float, body: str) -> bool:
        """A wrapped push with its highest inbox number (0: none); False: it does not get pushes now."""
        if self.session.phase is not Phase.OPEN or not self.delivery.push(number, now):
            return False
        self.transport.traffic.frames_out[body] += 1
        self._write(data)
        if number:
            self._wake_at(self.delivery.due(self.session.policy.ack_timeout_s))
        return True

    def keep_early(self, number: int, body: EncodedBody) -> None:
        """A push while the session is being stored: it goes out after the welcome, if that does not cover it."""
        if self._early is None:
            self._early = PushBuffer()
        self._early.add(number, body)

    def note_left(self, group: str) -> None:
        """The user left this large group: an index that was read before that must not bring it back."""
        if self.session.phase is Phase.OPENING:
            if self._early is None:
                self._early = PushBuffer()
            self._early.left_groups.add(group)

    @property
    def left_groups(self) -> AbstractSet[str]:
        """The large groups that the user left while the session was being stored."""
        return self._early.left_groups if self._early is not None else NOWHERE

    def _push_early(self, head: int, now: float) -> None:
        """What was kept, and a sync up to `head` does not bring."""
        early, self._early = self._early, None
        if early is None:
            return
        fresh = early.messages_after(head)
        if fresh:
            self.push(self.transport.wrap(self.codec.deliver(fresh)), fresh[-1][0], now, DELIVER)
        for body in early.others():
            self.push(self.transport.wrap(self.codec.push(body)), 0, now, label_of(body))
        if early.dropped > head:
            self.nudge(early.dropped, "ring")

    # ---- for those who lack something, do not read, or say nothing

    def nudge(self, head: int, reason: str) -> None:
        """`lagging`: the client may lack something up to this number."""
        delivery = self.delivery
        if self.session.phase is not Phase.OPEN or delivery.paused:
            return
        delivery.show(head)
        self._ask_to_sync(reason)

    def _ask_to_sync(self, reason: str) -> None:
        metrics.LAGGING.labels(reason).inc()
        self._send_lagging(self.delivery.nudge_head(), paused=False)

    def _tell_pause(self) -> None:
        metrics.SLOW_CONSUMER_PAUSES.inc()
        metrics.LAGGING.labels("paused").inc()
        self._send_lagging(self.delivery.shown, paused=True)

    def _send_lagging(self, head: int, *, paused: bool) -> None:
        self._send_frame(client_pb2.ServerFrame(lagging=client_pb2.Lagging(inbox_head=head, paused=paused)))

    def _probe(self) -> None:
        metrics.HEARTBEAT_PROBES.inc()
        if not self.transport.probe():
            head = self.delivery.shown
            self._send_frame(client_pb2.ServerFrame(pong=client_pb2.Pong(inbox_head=head)))

    # ---- the goodbye

    def _say_goodbye(self, goodbye: SayGoodbye, ban_ms: int) -> None:
        if goodbye.reason is None:
            self.flush()
            self.transport.close(close.NORMAL, "")
        else:
            self._close_with(goodbye.reason, goodbye, ban_ms)

    def _close_with(self, reason: CloseReason, goodbye: SayGoodbye, ban_ms: int) -> None:
        if reason is close.HEARTBEAT_TIMEOUT and goodbye.message != ONLY_PONGS:
            metrics.HEARTBEATS_LOST.inc()
        metrics.GOODBYES.labels(str(reason.code)).inc()
        self.closed_with = reason.code
        retry_after_ms = goodbye.retry_after_ms or ban_ms
        frame = reason.goodbye(goodbye.message, retry_after_ms=retry_after_ms, address=goodbye.address)
        # The session is in its last phase already: this is the one frame that still goes out.
        self.transport.traffic.frames_out["goodbye"] += 1
        self._write(self.transport.wrap(self.codec.encode_server(frame)))
        self.transport.close(reason.code, reason.name)
