"""The open phase of a session: requests, limits, signs of life, and leaving.

Guarantees and does not know: as session.py.
"""

from __future__ import annotations

import math
from typing import assert_never

from services.access.session.abuse import COUNTED_REFUSALS, TOO_MANY_REFUSED, TOO_MUCH, with_ban
from services.access.session.delivery_state import DeliveryState
from services.access.session.events import (
    AskedToLeave,
    Become,
    CloseSession,
    Effects,
    EndRequested,
    Event,
    FrameCame,
    FrameRefused,
    FrameTooLarge,
    HelloAccepted,
    Misbehaved,
    Opened,
    PeerGone,
    Probe,
    Refreshed,
    Refuse,
    SayGoodbye,
    StopReading,
    Ticked,
    Unregister,
)
from services.access.session.heartbeat import FOREVER, ONLY_PONGS, Life, Pulse
from services.access.session.limits import ConnectionLimits, UserTraffic, Verdict
from services.access.session.refresh_limit import RefreshLimit
from services.access.session.request_flow import RequestFlow
from services.access.session.session import (
    ASK_TO_SYNC,
    DISPATCH,
    DISPATCH_AND_STOP,
    HANDLE_HELD,
    NOTHING,
    PAUSE,
    RESUME,
    Closing,
    Phase,
    Session,
    SessionPolicy,
)
from tidings_protocol import close
from tidings_protocol.close import CloseReason
from tidings_protocol.operations import REQUESTS, Limit

# Looked at for every frame.
SENDS, PARTS, REFRESHES = Limit.SENDS, Limit.PARTS, Limit.REFRESHES

TOO_MANY_FRAMES = "too many frames in a short time: ask again after the time given, and send fewer"
TOO_MANY_SENDS = "too many sends a second: send again after the time given"
TOO_MANY_PARTS = "too many parts of streams a second: send this one again after the time given, with more in each"
TOO_MANY_REFRESHES = "too many refreshes: one is enough, the next may come after the time given"


class Open(Session):
    """The phase from the welcome to the goodbye. `flow`: with what came behind the hello, and is held."""

    __slots__ = ("_close_at", "_expires_at", "_flow", "_leaving", "_limits", "_pulse", "_refreshes")

    def __init__(
        self,
        policy: SessionPolicy,
        delivery: DeliveryState,
        now: float,
        *,
        kind: int,
        expires_at: float,
        flow: RequestFlow | None = None,
    ) -> None:
        super().__init__(Phase.OPEN, policy, delivery)
        self._pulse = Pulse(kind, now)
        self._limits = ConnectionLimits()
        self._refreshes = RefreshLimit()
        self._expires_at = expires_at
        self._flow = flow if flow is not None else RequestFlow(policy)
        self._close_at = FOREVER
        self._leaving: AskedToLeave | None = None

    @property
    def unanswered(self) -> int:
        return self._flow.unanswered

    @property
    def held(self) -> int:
        return self._flow.held

    @property
    def holding(self) -> bool:
        return self._flow.held > 0 or self._full

    @property
    def answers_pings(self) -> bool:
        return not self.delivery.blocked

    def handle(self, event: Event, now: float) -> Effects:
        match event:
            case FrameCame(body, size):
                return self.receive_frame(body, size, now)
            case FrameRefused(message, fatal):
                return self._receive_refused(message, fatal, now)
            case FrameTooLarge(message):
                return self._goodbye(close.TOO_LARGE, now, message)
            case Misbehaved(kind, message):
                return self._abuse(now, kind, message)
            case Refreshed(expires_at):
                self._expires_at = expires_at
                return NOTHING
            case EndRequested(reason, message, retry_after_ms, address):
                return self._goodbye(reason, now, message, retry_after_ms, address)
            case AskedToLeave():
                return self._leave(event, now)
            case Ticked():
                return self._tick(now)
            case PeerGone():
                return (Become(Closing(self, FOREVER)), Unregister(), CloseSession())
            case HelloAccepted() | Opened():
                return NOTHING  # said once, in the phase before
            case _:
                assert_never(event)

    def due(self) -> float:
        return min(
            self._pulse.due(self.policy.heartbeat),
            self._expires_at,
            self.delivery.due(self.policy.ack_timeout_s),
            self._close_at,
        )

    # ---- frames

    def receive_frame(self, body: str, size: int, now: float) -> Effects:
        if self._flow.held or self._full:
            return self.hold_frame(size, now)
        verdict = self._count(size, now)
        return self._flood(now) if verdict is Verdict.ABUSE else self._begin(body, now, verdict)

    def hold_frame(self, size: int, now: float) -> Effects:
        if self._count(size, now) is Verdict.ABUSE:
            return self._flood(now)
        return self._flow.hold(size, self.policy.held_bytes_max)

    def take_held(self, size: int) -> bool:
        return not self._full and self._flow.take(size)

    def receive_held(self, body: str, now: float) -> Effects:
        return self._begin(body, now, Verdict.FINE)

    def receive_part(self, size: int, now: float, *, alive: bool) -> Effects:
        if alive:
            self._pulse.answer_probe(now)
        flood = self._limits.count_frame(size, now, self.policy.limits) is Verdict.ABUSE
        return self._flood(now) if flood else NOTHING

    def answer(self, body: str, now: float) -> Effects:
        flow = self._flow
        flow.end(REQUESTS[body].size)
        if self._leaving is not None:
            return self._go(self._leaving, now) if not flow.unanswered else NOTHING
        if flow.held:
            return HANDLE_HELD
        return self.resume_reading() if flow.stopped else NOTHING

    def resume_reading(self) -> Effects:
        return NOTHING if self._full else self._flow.resume()

    def count_refusal(self, code: str, now: float) -> Effects:
        if code in COUNTED_REFUSALS and self._limits.count_refused(now, self.policy.limits):
            return self._abuse(now, "refused", TOO_MANY_REFUSED)
        return NOTHING

    # ---- what is written

    def block(self) -> Effects:
        return PAUSE if self.delivery.block() else NOTHING

    def unblock(self) -> Effects:
        live = ASK_TO_SYNC if self.delivery.unblock() and self.delivery.missed else NOTHING
        return live + (HANDLE_HELD if self._flow.held else self.resume_reading())

    # ---- whose it is

    def share(self, traffic: UserTraffic) -> None:
        self._limits.shared = traffic

    def set_away(self, away: bool) -> None:
        self._pulse.away = away

    def idle(self, now: float) -> bool:
        return self._pulse.idle(now, self.policy.heartbeat)

    # ---- inside

    @property
    def _full(self) -> bool:
        return self._flow.full or self.delivery.blocked or self._leaving is not None

    def _begin(self, body: str, now: float, verdict: Verdict) -> Effects:
        request = REQUESTS.get(body)
        if request is None:
            return self._begin_other(body, now)
        if request.used:
            self._pulse.used = now
            self._pulse.away = False
        if not request.answered:
            return DISPATCH
        if verdict is Verdict.SLOW_DOWN:
            return _refuse_rate(TOO_MANY_FRAMES, 1.0)
        if request.limit is SENDS:
            wait_s = self._limits.take_send(now, self.policy.limits)
            if wait_s:
                return _refuse_rate(TOO_MANY_SENDS, wait_s)
        elif request.limit is PARTS:
            wait_s = self._limits.take_part(now, self.policy.limits)
            if wait_s:
                return _refuse_rate(TOO_MANY_PARTS, wait_s)
        elif request.limit is REFRESHES:
            wait_s = self._refreshes.take(now)
            if wait_s:
                return _refuse_rate(TOO_MANY_REFRESHES, wait_s)
        self._flow.begin(request.size)
        return DISPATCH_AND_STOP if self._full and self._flow.stop() else DISPATCH

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
        self._pulse.beat(now)
        return self._limits.count_frame(size, now, self.policy.limits)

    def _receive_refused(self, message: str, fatal: bool, now: float) -> Effects:
        if fatal:
            return self._goodbye(close.BAD_FRAME, now, message)
        self._pulse.beat(now)
        return self._refuse("BAD_FRAME", message, now)

    def _refuse(self, code: str, message: str, now: float) -> Effects:
        # One refusal too many is told by the goodbye alone: the next phase comes before it.
        ended = self.count_refusal(code, now)
        return (*ended[:1], Refuse(code, message), *ended[1:])

    def _leave(self, event: AskedToLeave, now: float) -> Effects:
        if self._leaving is not None:
            return NOTHING
        if not self._flow.unanswered:
            return self._go(event, now)
        self._leaving = event
        self._close_at = now + self.policy.leave_grace_s
        return (StopReading(),) if self._flow.stop() else NOTHING

    def _go(self, event: AskedToLeave, now: float) -> Effects:
        return self._goodbye(event.reason, now, event.message, event.retry_after_ms, event.address)

    def _tick(self, now: float) -> Effects:
        if now >= self._expires_at:
            return self._goodbye(close.TOKEN_EXPIRED, now)
        if self._leaving is not None and now >= self._close_at:
            return self._go(self._leaving, now)
        life = self._pulse.check(now, self.policy.heartbeat)
        if life is Life.LOST:
            return self._goodbye(close.HEARTBEAT_TIMEOUT, now)
        if life is Life.SILENT:
            return self._goodbye(close.HEARTBEAT_TIMEOUT, now, ONLY_PONGS)
        probe: Effects = (Probe(),) if life is Life.LATE else NOTHING
        return probe + (ASK_TO_SYNC if self.delivery.check(now, self.policy.ack_timeout_s) else NOTHING)

    def _flood(self, now: float) -> Effects:
        return self._abuse(now, self._limits.excess, TOO_MUCH)

    def _abuse(self, now: float, kind: str, message: str) -> Effects:
        return with_ban(self._goodbye(close.ABUSE, now, message), kind)

    def _goodbye(
        self, reason: CloseReason, now: float, message: str = "", retry_after_ms: int = 0, address: str = ""
    ) -> Effects:
        return self._end(SayGoodbye(reason, message, retry_after_ms, address), now)

    def _end(self, goodbye: SayGoodbye, now: float) -> Effects:
        closing = Become(Closing(self, now + self.policy.linger_s))
        # Reads on, and drops what comes: unread bytes would turn the close into a reset that eats the goodbye.
        resume = RESUME if self._flow.stopped else NOTHING
        return (closing, goodbye, Unregister(), CloseSession(), *resume)


def _refuse_rate(message: str, wait_s: float) -> Effects:
    return (Refuse("RATE_LIMITED", message, math.ceil(wait_s * 1000)),)
