"""The state machine of one connection: what may come when, and what follows. No I/O, no clock, no frame contents.

Theory of operation. A connection passes through four phases and never goes back:

    AWAITING_HELLO --hello--> OPENING --opened--> OPEN
          |                      |                  |
          +----------------------+------------------+--goodbye, bye, peer gone--> CLOSING

- AWAITING_HELLO: only `hello` will do, within 5 s. Anything else, and every error until the welcome, is a goodbye.
- OPENING: the token is checked, the owner knows of the visitor, the session is being stored. Frames that were pipelined
  behind the hello are held by the shell, in order, and handled after the welcome.
- OPEN: the table of operations says what a frame is. A request counts as unanswered until `answer`. At
  `unanswered_max` of them (or `pages_max` requests for pages, whose answers are large) nothing more is read; what the
  transport had read already is held. One who was asked to leave finishes what is unanswered first.
  One who does not read what is written to it is not served either: its requests are held like the others.
- CLOSING: a goodbye was said (or the peer is gone). Nothing is handled; the shell shuts down, and cuts the connection
  off at the deadline if the peer does not.

`handle(event, now)` gives the effects, in order, for the shell to carry out. Frames in the open phase are most of all
events, so `receive_frame` and `answer` are called directly, and effects without contents are constants: a send and its
answer cost 2.4 µs here, with an event and an effect object for each 3.4 µs.

Guarantees: one goodbye at most; a request is handed on at most once and in order; whoever was opened is closed
(CloseSession) exactly once, also if the peer left while its session was being stored. Held and unanswered requests are
bounded by the policy and by what one read of the transport may bring.

Does not know: sockets, codecs, tokens, what a request asks for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import assert_never

from services.access.connection.delivery_state import Outbox
from services.access.connection.events import (
    AskedToLeave,
    Ban,
    CheckHello,
    CloseSession,
    CutOff,
    Effects,
    Ended,
    Event,
    FrameCame,
    FrameRefused,
    FrameTooLarge,
    HandleHeld,
    HandOn,
    HelloAccepted,
    Hold,
    Misbehaved,
    Nudge,
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
from services.access.connection.heartbeat import FOREVER, HeartbeatPolicy, Life, Pulse
from services.access.connection.limits import ConnectionLimits, LimitPolicy, Verdict
from services.access.connection.rules import EARLY_PARTS_MAX, NO_REFRESHES, ONLY_PONGS, TOO_MUCH, RefreshLimit
from tidings_protocol import close
from tidings_protocol.close import CloseReason
from tidings_protocol.operations import REQUESTS, Limit, Size


class Phase(Enum):
    AWAITING_HELLO = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """What the settings say; seconds."""

    heartbeat: HeartbeatPolicy = field(default_factory=HeartbeatPolicy)
    limits: LimitPolicy = field(default_factory=LimitPolicy)
    handshake_s: float = 5.0
    unanswered_max: int = 256
    pages_max: int = 8
    held_max: int = 256
    held_bytes_max: int = 256 * 1024
    early_bytes_max: int = 32 * 1024  # held behind a hello
    ack_timeout_s: float = 10.0
    leave_grace_s: float = 5.0
    linger_s: float = 1.0


# Looked up once: each of them is asked for with every frame.
PAGE, SENDS, REFRESHES = Size.PAGE, Limit.SENDS, Limit.REFRESHES

NOTHING: Effects = ()
HAND_ON: Effects = (HandOn(),)
HAND_ON_AND_STOP: Effects = (HandOn(), StopReading())
HOLD: Effects = (Hold(),)
HOLD_AND_STOP: Effects = (Hold(), StopReading())
HANDLE_HELD: Effects = (HandleHeld(),)
RESUME: Effects = (ResumeReading(),)
PAUSE: Effects = (Pause(),)
NUDGE: Effects = (Nudge(),)


TOO_MANY_REFUSED = "too many bad or forbidden requests within a minute"
# Refusals that count against the client; RATE_LIMITED and those of the server do not.
COUNTED_REFUSALS = frozenset({"BAD_FRAME", "BAD_REQUEST", "FORBIDDEN"})


class Session:
    """One connection. The shell calls it in the event loop, and carries out what it says before the next call."""

    __slots__ = (
        "_blocked", "_close_at", "_early_parts", "_expires_at", "_held", "_held_bytes", "_leaving", "_pages",
        "_refreshes", "_since",
        "_stopped", "_unanswered", "limits", "outbox", "phase", "policy", "pulse",
    )  # fmt: skip

    def __init__(self, policy: SessionPolicy, now: float) -> None:
        self.policy = policy
        self.phase = Phase.AWAITING_HELLO
        self.pulse: Pulse | None = None
        self.limits: ConnectionLimits | None = None
        self.outbox = NO_OUTBOX
        self._since = now
        self._expires_at = FOREVER
        self._close_at = FOREVER
        self._unanswered = 0
        self._pages = 0
        self._held = 0
        self._held_bytes = 0
        self._stopped = False
        self._blocked = False
        self._early_parts = 0
        self._leaving: AskedToLeave | None = None
        self._refreshes = NO_REFRESHES

    @property
    def unanswered(self) -> int:
        return self._unanswered

    @property
    def held(self) -> int:
        return self._held

    def handle(self, event: Event, now: float) -> Effects:  # noqa: C901 - one case for each event
        """Everything that can happen to a connection."""
        match event:
            case FrameCame(body, size):
                return self.receive_frame(body, size, now)
            case FrameRefused(message, fatal):
                return self._receive_refused(message, fatal, now)
            case FrameTooLarge(message):
                return self._goodbye(close.TOO_LARGE, now, message)
            case Misbehaved(kind, message):
                return self._abuse(now, kind, message) if self.phase is Phase.OPEN else NOTHING
            case HelloAccepted(kind, expires_at):
                return self._accept(kind, expires_at, now)
            case Opened():
                return self._open(now)
            case Refreshed(expires_at):
                if self.phase is Phase.OPEN:
                    self._expires_at = expires_at
                return NOTHING
            case Ended(reason, message, retry_after_ms, address):
                return self._goodbye(reason, now, message, retry_after_ms, address)
            case AskedToLeave():
                return self._leave(event, now)
            case Ticked():
                return self._tick(now)
            case PeerGone():
                return self._peer_gone()
            case _:
                assert_never(event)

    # ---- frames

    def receive_frame(self, body: str, size: int, now: float) -> Effects:
        """A frame came off the transport."""
        if self.holding:
            return self.hold_frame(size, now)
        if self.phase is Phase.OPEN:
            verdict = self._count(size, now)
            if verdict is Verdict.ABUSE:
                return self._flood(now)
            return self._begin(body, now, verdict)
        if self.phase is Phase.AWAITING_HELLO:
            if body == "hello":
                self.phase = Phase.OPENING
                return (CheckHello(),)
            return self._goodbye(close.UNAUTHENTICATED, now, "the first frame must be a hello: send it, then the rest")
        return NOTHING

    @property
    def holding(self) -> bool:
        """A frame that comes now is held, so that it need not be decoded yet: use `hold_frame`."""
        if self.phase is Phase.OPEN:
            return self._held > 0 or self._full
        return self.phase is Phase.OPENING

    def hold_frame(self, size: int, now: float) -> Effects:
        """A frame came that has to wait."""
        if self.phase is Phase.OPEN and self._count(size, now) is Verdict.ABUSE:
            return self._flood(now)
        self._held += 1
        self._held_bytes += size
        policy = self.policy
        bytes_max = policy.held_bytes_max
        if self.phase is not Phase.OPEN:
            bytes_max = min(bytes_max, policy.early_bytes_max)
        many = self._held >= policy.held_max or self._held_bytes >= bytes_max
        if many and not self._stopped:
            self._stopped = True
            return HOLD_AND_STOP
        return HOLD

    def take_held(self, size: int) -> bool:
        """Whether the next held frame, of this many bytes, may be handled; if so it is held no more."""
        if not self._held or self._full or self.phase is not Phase.OPEN:
            return False
        self._held -= 1
        self._held_bytes -= size
        return True

    def receive_held(self, body: str, now: float) -> Effects:
        """A frame that was held could be read; its traffic was counted when it came."""
        return self._begin(body, now, Verdict.FINE)

    def answer(self, body: str, now: float) -> Effects:
        """The request has its reply (or its outcome, if it has none)."""
        self._unanswered -= 1
        if REQUESTS[body].size is PAGE:
            self._pages -= 1
        if self.phase is not Phase.OPEN:
            return NOTHING
        if self._leaving is not None:
            return self._go(self._leaving, now) if not self._unanswered else NOTHING
        if self._held:
            return HANDLE_HELD
        return self.resume_reading() if self._stopped else NOTHING

    def resume_reading(self) -> Effects:
        """After what was held is handled: reads on when half of the places are free again."""
        if not self._stopped or self._held or self._leaving or self.phase is not Phase.OPEN:
            return NOTHING
        if self._full or 2 * self._unanswered > self.policy.unanswered_max:
            return NOTHING
        self._stopped = False
        return RESUME

    def block(self) -> Effects:
        """More than the limit waits to be written to this connection: requests wait too, until it reads."""
        self._blocked = True
        if self.phase is not Phase.OPEN:
            return NOTHING  # nothing is pushed to it yet, or any more
        return PAUSE if self.outbox.block() else NOTHING

    def unblock(self) -> Effects:
        """It has read."""
        self._blocked = False
        if self.phase is not Phase.OPEN:
            return NOTHING
        live = NUDGE if self.outbox.unblock() and self.outbox.missed else NOTHING
        return live + (HANDLE_HELD if self._held else self.resume_reading())

    def page_written(self, head: int, *, more: bool) -> Effects:
        """A page of a `sync` has gone out."""
        return NUDGE if self.outbox.page_written(head, more=more) and self.outbox.missed else NOTHING

    def count_refusal(self, code: str, now: float) -> Effects:
        """A request was answered with this error."""
        if code not in COUNTED_REFUSALS or self.phase is not Phase.OPEN:
            return NOTHING
        assert self.limits is not None
        if self.limits.count_refused(now, self.policy.limits):
            return self._abuse(now, "refused", TOO_MANY_REFUSED)
        return NOTHING

    def receive_part(self, size: int, now: float, *, alive: bool) -> Effects:
        """Something that costs work and is no frame: a control frame of WebSocket (`alive`: it is a sign of life), or
        a fragment."""
        if self.phase is Phase.OPEN:
            assert self.limits is not None
            if alive and self.pulse is not None:
                self.pulse.answer_probe(now)
            flood = self.limits.count_frame(size, now, self.policy.limits) is Verdict.ABUSE
            return self._flood(now) if flood else NOTHING
        self._early_parts += 1
        if self._early_parts > EARLY_PARTS_MAX:
            return self._goodbye(close.ABUSE, now, TOO_MUCH)
        return NOTHING

    @property
    def answers_pings(self) -> bool:
        """Whether a control frame may be answered: not after the goodbye, nor while the peer does not read."""
        return not self._blocked and self.phase is not Phase.CLOSING

    def idle(self, now: float) -> bool:
        """Whether its user is away, or nobody can be seen to be there: as presence and push notifications count it."""
        return self.phase is Phase.OPEN and self.pulse is not None and self.pulse.idle(now, self.policy.heartbeat)

    def set_away(self, away: bool) -> None:
        """`ping.idle`."""
        if self.pulse is not None:
            self.pulse.away = away

    def due(self) -> float:
        """When to send `Ticked` at the latest, if nothing else happens."""
        match self.phase:
            case Phase.AWAITING_HELLO:
                return self._since + self.policy.handshake_s
            case Phase.OPENING:
                return FOREVER
            case Phase.OPEN:
                assert self.pulse is not None
                return min(
                    self.pulse.due(self.policy.heartbeat),
                    self._expires_at,
                    self.outbox.due(self.policy.ack_timeout_s),
                    self._close_at,
                )
            case Phase.CLOSING:
                return self._close_at
            case _:
                assert_never(self.phase)

    # ---- inside

    @property
    def _full(self) -> bool:
        return (
            self._unanswered >= self.policy.unanswered_max
            or self._pages >= self.policy.pages_max
            or self.outbox.blocked
            or self._leaving is not None
        )

    def _begin(self, body: str, now: float, verdict: Verdict) -> Effects:
        request = REQUESTS.get(body)
        if request is None:
            return self._begin_other(body, now)
        if request.used:
            assert self.pulse is not None
            self.pulse.used = now
            self.pulse.away = False
        if not request.answered:
            return HAND_ON
        if verdict is Verdict.SLOW_DOWN:
            return (Refuse("RATE_LIMITED", "too many frames in a short time: send fewer", 1000),)
        if request.limit is SENDS:
            assert self.limits is not None
            wait_s = self.limits.take_send(now, self.policy.limits)
            if wait_s:
                retry_ms = math.ceil(wait_s * 1000)
                return (Refuse("RATE_LIMITED", "too many sends a second: send again after the time given", retry_ms),)
        elif request.limit is REFRESHES:
            wait_s = self._refreshes.take(now)
            if wait_s:
                return (Refuse("RATE_LIMITED", "too many refreshes: one is enough", math.ceil(wait_s * 1000)),)
        self._unanswered += 1
        if request.size is PAGE:
            self._pages += 1
        if self._full and not self._stopped:
            self._stopped = True
            return HAND_ON_AND_STOP
        return HAND_ON

    def _begin_other(self, body: str, now: float) -> Effects:
        """What is no request within a session."""
        match body:
            case "bye":
                return self._end(SayGoodbye(None), now)
            case "hello":
                return self._refuse("BAD_REQUEST", "this connection has said hello already: open another one", now)
            case _:
                return self._refuse("BAD_REQUEST", f"`{body}` is not asked in a session: leave it out", now)

    def _count(self, size: int, now: float) -> Verdict:
        assert self.pulse is not None
        assert self.limits is not None
        self.pulse.beat(now)
        return self.limits.count_frame(size, now, self.policy.limits)

    def _hear(self, now: float) -> None:
        if self.pulse is not None:
            self.pulse.beat(now)

    def _receive_refused(self, message: str, fatal: bool, now: float) -> Effects:
        if self.phase is Phase.CLOSING:
            return NOTHING
        if fatal or self.phase is not Phase.OPEN:
            return self._goodbye(close.BAD_FRAME, now, message)
        self._hear(now)
        return self._refuse("BAD_FRAME", message, now)

    def _refuse(self, code: str, message: str, now: float) -> Effects:
        return (Refuse(code, message), *self.count_refusal(code, now))

    def _accept(self, kind: int, expires_at: float, now: float) -> Effects:
        if self.phase is not Phase.OPENING:
            return NOTHING
        self.pulse = Pulse(kind, now)
        self.limits = ConnectionLimits()
        self._refreshes = RefreshLimit()
        self.outbox = Outbox()
        self._expires_at = expires_at
        return (StoreSession(),)

    def _open(self, now: float) -> Effects:
        if self.phase is not Phase.OPENING:
            # The peer left, or was evicted, while its session was being stored.
            return (CloseSession(),)
        assert self.pulse is not None
        self.phase = Phase.OPEN
        self.pulse.beat(now)
        self.pulse.used = now
        held: Effects = HANDLE_HELD if self._held else ()
        paused = self.block() if self._blocked else NOTHING
        return (Welcome(), *paused, *held)

    def _leave(self, event: AskedToLeave, now: float) -> Effects:
        if self.phase is Phase.CLOSING or self._leaving is not None:
            return NOTHING
        if self.phase is not Phase.OPEN or not self._unanswered:
            return self._go(event, now)
        self._leaving = event
        self._close_at = now + self.policy.leave_grace_s
        if self._stopped:
            return NOTHING
        self._stopped = True
        return (StopReading(),)

    def _go(self, event: AskedToLeave, now: float) -> Effects:
        return self._goodbye(event.reason, now, event.message, event.retry_after_ms, event.address)

    def _tick(self, now: float) -> Effects:
        match self.phase:
            case Phase.AWAITING_HELLO if now >= self._since + self.policy.handshake_s:
                return self._goodbye(close.SLOW_HANDSHAKE, now)
            case Phase.OPEN:
                return self._tick_open(now)
            case Phase.CLOSING if now >= self._close_at:
                self._close_at = FOREVER
                return (CutOff(),)
            case _:
                return NOTHING

    def _tick_open(self, now: float) -> Effects:
        if now >= self._expires_at:
            return self._goodbye(close.TOKEN_EXPIRED, now)
        if self._leaving is not None and now >= self._close_at:
            return self._go(self._leaving, now)
        assert self.pulse is not None
        life = self.pulse.check(now, self.policy.heartbeat)
        if life is Life.LOST:
            return self._goodbye(close.HEARTBEAT_TIMEOUT, now)
        if life is Life.SILENT:
            return self._goodbye(close.HEARTBEAT_TIMEOUT, now, ONLY_PONGS)
        probe: Effects = (Probe(),) if life is Life.LATE else ()
        nudge: Effects = (Nudge(),) if self.outbox.check(now, self.policy.ack_timeout_s) else ()
        return probe + nudge

    def _flood(self, now: float) -> Effects:
        assert self.limits is not None
        return self._abuse(now, self.limits.excess, TOO_MUCH)

    def _abuse(self, now: float, kind: str, message: str) -> Effects:
        return (Ban(kind), *self._goodbye(close.ABUSE, now, message))

    def _goodbye(
        self, reason: CloseReason, now: float, message: str = "", retry_after_ms: int = 0, address: str = ""
    ) -> Effects:
        if self.phase is Phase.CLOSING:
            return NOTHING
        return self._end(SayGoodbye(reason, message, retry_after_ms, address), now)

    def _end(self, goodbye: SayGoodbye, now: float) -> Effects:
        gone = self._registered()
        self.phase = Phase.CLOSING
        self._close_at = now + self.policy.linger_s
        # Reads on, and drops what comes: unread bytes would turn the close into a reset that eats the goodbye.
        resume = RESUME if self._stopped else ()
        self._stopped = False
        return (goodbye, *gone, *resume)

    def _peer_gone(self) -> Effects:
        gone = self._registered()
        self.phase = Phase.CLOSING
        self._close_at = FOREVER
        return gone

    def _registered(self) -> Effects:
        """What is to be undone. While it is being stored, `Opened` closes it."""
        if self.phase is Phase.OPEN:
            return (Unregister(), CloseSession())
        return (Unregister(),) if self.phase is Phase.OPENING else ()


# What a connection without a session has: nothing is ever pushed to it.
NO_OUTBOX = Outbox()
