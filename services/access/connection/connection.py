"""One connection, whatever its transport and codec: the shell around the session's state machine.

It decodes what the transport brings, asks the session what follows and carries that out: hands requests to its node,
holds frames that have to wait, and has the way out (outgoing.py) tell the client. Both transports (WebSocket, TCP)
drive this one class through `receive`, `refuse_frame`, `receive_part`, `block`, `unblock` and `lost`, and are driven by
it through `Transport`.

Guarantees: everything happens in the event loop, in callbacks: no task and no timer for a connection. Frames are
handled in the order in which they came. Nothing is written after the goodbye. A defect in the handling of one
connection ends that one with 4005.

Does not know: sockets, HTTP, what requests mean, who owns which user.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from services.access.connection.abuse_tracker import Device
from services.access.connection.identity import STRANGER, Identity
from services.access.connection.outgoing import Outgoing
from services.access.connection.ports import NodePort, Transport
from services.access.connection.traffic import REPLY
from services.access.session.abuse import COUNTED_REFUSALS, TOO_MANY_REFUSED, counts
from services.access.session.delivery_state import DeliveryState
from services.access.session.events import (
    Abort,
    AskedToLeave,
    AskToSync,
    Ban,
    Become,
    CheckHello,
    CloseSession,
    Dispatch,
    Effects,
    EndRequested,
    Event,
    FrameRefused,
    FrameTooLarge,
    HandleHeld,
    HelloAccepted,
    Hold,
    Misbehaved,
    Opened,
    Pause,
    PeerGone,
    Probe,
    Refreshed,
    Refuse,
    ResumeReading,
    SayGoodbye,
    StopReading,
    StoreSession,
    Ticked,
    Unregister,
    Welcome,
)
from services.access.session.handshaking import Handshaking
from services.access.session.session import DISPATCH, Phase
from services.common.telemetry import logs, metrics
from tidings_protocol import client_pb2, close
from tidings_protocol.errors import BadFrame, TidingsError, Unparsable, error_of
from tidings_protocol.operations import ACTS, REQUESTS, Limit, name_of
from tidings_protocol.wire.codec import Codec, Data
from tidings_protocol.wire.ping import ping_in

# What a request that is refused by a rate limit is counted as.
_LIMITS: Final[Mapping[Limit | None, str]] = {Limit.SENDS: "sends", Limit.PARTS: "parts"}

log = logs.get_logger(__name__)


class Connection(Outgoing):
    """One connection, from its first byte to its last."""

    __slots__ = (
        "_behind", "_draining", "_held", "_requests", "_welcome", "group_heads", "hello", "hello_id", "identity",
        "node", "opened_at", "welcomed", "wheel_tick",
    )  # fmt: skip

    def __init__(self, node: NodePort, transport: Transport, codec: Codec) -> None:
        now = node.now()
        super().__init__(transport, codec, Handshaking(node.policy, DeliveryState(), now))
        self.node = node
        self.identity = STRANGER  # until its hello was right
        self.hello: client_pb2.Hello | None = None  # until the session is stored
        self.hello_id = 0
        self.group_heads: Mapping[str, int] | None = None  # last told, of large groups
        self.opened_at = now
        self.welcomed = False
        self.wheel_tick = 0
        self._requests = 0
        self._held: deque[Data] | None = None
        self._draining = False
        self._welcome: client_pb2.ServerFrame | None = None
        self._behind: Sequence[client_pb2.ServerFrame] = ()
        node.connections.begin(self)
        node.wheel.schedule(self, self.session.due())

    # ---- from the transport

    def receive(self, data: Data) -> None:
        """One frame as the peer sent it."""
        self.transport.traffic.bytes_in += len(data)
        session = self.session
        if session.phase is Phase.CLOSING:
            return
        try:
            if session.holding:
                self._apply(session.hold_frame(len(data), self.node.now()), data=data)
            else:
                self._read(data, held=False)
        except Exception:  # the edge: a defect ends this connection, not its node
            log.exception("connection failed", user=self.user, session=self.session_id)
            self.handle(EndRequested(close.INTERNAL))

    def refuse_frame(self, message: str) -> None:
        """What came cannot be a frame."""
        self.handle(FrameRefused(message, fatal=True))

    def refuse_size(self, message: str) -> None:
        """A frame over the limit was announced."""
        self.handle(FrameTooLarge(message))

    def receive_part(self, size: int, *, alive: bool) -> bool:
        """A control frame of WebSocket, or a fragment; whether a control frame may be answered."""
        self.transport.traffic.bytes_in += size
        self._apply(self.session.receive_part(size, self.node.now(), alive=alive))
        return self.session.answers_pings

    def block(self) -> None:
        """More than the limit waits to be written."""
        self._apply(self.session.block())

    def unblock(self) -> None:
        """The peer has read."""
        self._apply(self.session.unblock())

    def lost(self) -> None:
        """The transport is closed."""
        self.handle(PeerGone())
        self._held = self._later = None
        self.node.connections.lost(self)

    # ---- from the node

    def handle(self, event: Event) -> None:
        """Something happened to it."""
        self._apply(self.session.handle(event, self.node.now()))

    def tick(self, now: float) -> None:
        """The wheel came round."""
        due = self.session.due()
        if now >= due:
            try:
                self._apply(self.session.handle(Ticked(), now))
            except Exception as defect:  # noqa: BLE001 - the edge: as in `receive`
                self.abort_after(defect)
            due = self.session.due()
        self.node.wheel.schedule(self, due)

    def identify(self, identity: Identity, expires_at: float) -> None:
        """Takes note that the hello is right; `expires_at`: of the token, on the node's clock."""
        self.identity, self.user, self.session_id = identity, identity.user, identity.session_id
        self.handle(HelloAccepted(identity.kind, expires_at))

    def open(
        self,
        welcome: client_pb2.ServerFrame,
        behind: Sequence[client_pb2.ServerFrame] = (),
        group_heads: Mapping[str, int] | None = None,
    ) -> None:
        """Opens it: its session is stored. `behind`: what follows the welcome, `group_heads`: what that shows."""
        self._welcome, self._behind = welcome, behind
        self.group_heads = group_heads
        self.handle(Opened())
        self._welcome, self._behind = None, ()
        self.hello = None

    def refresh(self, expires_at: float) -> None:
        """A new token was shown."""
        self.handle(Refreshed(expires_at))
        self.node.wheel.schedule(self, self.session.due())

    def leave(self, event: AskedToLeave) -> None:
        """Go elsewhere, after what is unanswered."""
        self.handle(event)
        self.node.wheel.schedule(self, self.session.due())

    def reply(self, request_id: int, body: str, frame: bytes) -> None:
        """The answer to a request: a ServerFrame's protobuf bytes without id."""
        self.send(self.codec.reply(request_id, frame), REPLY)
        self.answered(body)

    def refuse(self, request_id: int, body: str, error: TidingsError) -> None:
        """The request is not done."""
        self.send_error(request_id, error)
        self.answered(body)

    def answered(self, body: str) -> None:
        """The request is done with."""
        effects = self.session.answer(body, self.node.now())
        if effects:
            self._apply(effects)

    def send_error(self, request_id: int, error: TidingsError) -> None:
        """An error frame; it counts against the client if the client is to blame, and was not only too early."""
        self._send_error(request_id, error)
        if counts(error.code, error.retry_after_ms, excused=error.excused):
            self.count_refusal(error.code)

    def count_refusal(self, code: str) -> None:
        """Counts that a request was answered with this error."""
        self._apply(self.session.count_refusal(code, self.node.now()))
        self._count_for_user(code)

    def page_written(self, head: int, *, more: bool) -> None:
        """A page of a `sync` has gone out."""
        self._apply(self.session.page_written(head, more=more))

    def remember_heads(self, heads: Mapping[str, int] | None) -> None:
        """Remembers which heads of large groups the client was shown."""
        self.group_heads = heads

    def next_op(self) -> str:
        """A name for its next request, that no other has."""
        self._requests += 1
        return f"{self.session_id}.{self._requests}"

    # ---- inside

    def _flush_later(self) -> None:
        self.node.connections.flush_later(self)

    def _wake_at(self, due: float) -> None:
        self.node.wheel.schedule(self, due)

    def _read(self, data: Data, *, held: bool) -> None:
        now = self.node.now()
        if self.codec.binary and not held and type(data) is bytes and self._read_ping(data, now):
            return
        try:
            frame = self.codec.decode_client(data)
        except BadFrame as error:
            refused = FrameRefused(error.message, fatal=isinstance(error, Unparsable))
            self._apply(self.session.handle(refused, now), request_id=error.request_id)
            return
        body: str | None = frame.WhichOneof("body")
        assert body is not None
        self.transport.traffic.frames_in[body] += 1
        if body in ACTS:
            body = name_of(frame)
        session = self.session
        effects = session.receive_held(body, now) if held else session.receive_frame(body, len(data), now)
        if effects is DISPATCH:
            self.node.requests.take(self, frame, body)
        else:
            self._apply(effects, frame=frame, body=body, request_id=frame.id)

    def _read_ping(self, data: bytes, now: float) -> bool:
        """Whether that was a ping: an idle connection sends nothing else."""
        ping = ping_in(data)
        if ping is None:
            return False
        self.transport.traffic.frames_in["ping"] += 1
        effects = self.session.receive_frame("ping", len(data), now)
        if effects is DISPATCH:
            self.node.requests.take_ping(self, ping.request_id, idle=ping.idle)
        else:
            frame = self.codec.decode_client(data)
            self._apply(effects, data=data, frame=frame, body="ping", request_id=ping.request_id)
        return True

    def _apply(  # noqa: C901 - one case for each effect
        self,
        effects: Effects,
        *,
        data: Data = b"",
        frame: client_pb2.ClientFrame | None = None,
        body: str = "",
        request_id: int = 0,
    ) -> None:
        ban_ms = 0
        for effect in effects:
            match effect:
                case Dispatch():
                    assert frame is not None
                    self.node.requests.take(self, frame, body)
                case Hold():
                    if self._held is None:
                        self._held = deque()
                    self._held.append(data)
                case HandleHeld():
                    self._handle_held()
                case Refuse(code, message, retry_after_ms):
                    self._send_refusal(request_id, body, code, message, retry_after_ms)
                case StopReading():
                    self.transport.pause_reading()
                case ResumeReading():
                    self.transport.resume_reading()
                case CheckHello():
                    assert frame is not None
                    self.hello, self.hello_id = frame.hello, frame.id
                    self.node.handshake.authenticate(self, frame.hello)
                case StoreSession():
                    self.node.handshake.store(self)
                case Welcome():
                    self._send_welcome()
                case Probe():
                    self._probe()
                case AskToSync():
                    self._ask_to_sync("unacknowledged")
                case Pause():
                    self._tell_pause()
                case Become(session):
                    self.session = session
                case Ban(kind):
                    ban_ms = self._ban(kind)
                case SayGoodbye():
                    self._say_goodbye(effect, ban_ms)
                    self._held = None
                    self._wake_at(self.session.due())
                case Unregister():
                    self.node.closer.unregister(self)
                case CloseSession():
                    self.node.closer.close_session(self)
                case Abort():
                    self.transport.abort()
                case _:
                    assert_never(effect)

    def _handle_held(self) -> None:
        # Answers that come at once call this again from within: the outer call goes on with the rest.
        if self._draining:
            return
        self._draining = True
        try:
            held = self._held
            while held and self.session.take_held(len(held[0])):
                self._read(held.popleft(), held=True)
            if not held:
                self._held = None
        finally:
            self._draining = False
        self._apply(self.session.resume_reading())

    def _send_refusal(self, request_id: int, body: str, code: str, message: str, retry_after_ms: int) -> None:
        if code == "RATE_LIMITED":
            metrics.LIMITED.labels(_LIMITS.get(REQUESTS[body].limit, "frames")).inc()
        self._send_error(request_id, error_of(code, message, retry_after_ms))
        self._count_for_user(code)

    def _count_for_user(self, code: str) -> None:
        if code in COUNTED_REFUSALS and self.session.phase is Phase.OPEN:
            node = self.node
            if node.abuse.count_refused(self.user, node.now()):
                self.handle(Misbehaved("refused", TOO_MANY_REFUSED))

    def _ban(self, kind: str) -> int:
        node, who = self.node, Device(self.user, self.identity.device)
        log.warning("client banned", user=who.user, device=who.device, reason=kind)
        return round(1000 * node.abuse.ban(who, kind, node.now()))

    def _send_welcome(self) -> None:
        assert self._welcome is not None
        welcome = self._welcome.welcome
        self.delivery.show(welcome.inbox_head)
        self.transport.admit()
        self._send_frame(self._welcome)
        for frame in self._behind:
            self._send_frame(frame)
        self.opened_at = self.node.now()
        self.welcomed = True
        self.node.wheel.schedule(self, self.session.due())
        self.node.connections.opened(self)
        self._push_early(welcome.inbox_head, self.node.now())
