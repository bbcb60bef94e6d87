"""The phase of a session before the welcome: the hello is awaited, then it is checked and the session is stored.

Guarantees and does not know: as session.py.
"""

from __future__ import annotations

from typing import assert_never

from services.access.session.abuse import EARLY_PARTS_MAX, TOO_MANY_PARTS
from services.access.session.delivery_state import DeliveryState
from services.access.session.events import (
    AskedToLeave,
    Become,
    CheckHello,
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
    Refreshed,
    SayGoodbye,
    StoreSession,
    Ticked,
    Unregister,
    Welcome,
)
from services.access.session.heartbeat import FOREVER
from services.access.session.open import Open
from services.access.session.request_flow import RequestFlow
from services.access.session.session import (
    HANDLE_HELD,
    NOTHING,
    RESUME,
    Closing,
    Phase,
    Session,
    SessionPolicy,
)
from tidings_protocol import close
from tidings_protocol.close import CloseReason


class Handshaking(Session):
    """The phases from the first byte to the welcome: AWAITING_HELLO, then OPENING."""

    __slots__ = ("_blocked", "_early_parts", "_expires_at", "_flow", "_kind", "_since")

    def __init__(self, policy: SessionPolicy, delivery: DeliveryState, now: float) -> None:
        super().__init__(Phase.AWAITING_HELLO, policy, delivery)
        self._since = now
        self._kind = 0
        self._expires_at = FOREVER
        self._flow = RequestFlow(policy)
        self._blocked = False
        self._early_parts = 0

    @property
    def held(self) -> int:
        return self._flow.held

    @property
    def holding(self) -> bool:
        return self.phase is Phase.OPENING

    @property
    def answers_pings(self) -> bool:
        return not self._blocked

    def handle(self, event: Event, now: float) -> Effects:
        match event:
            case FrameCame(body, size):
                return self.receive_frame(body, size, now)
            case FrameRefused(message):
                return self._goodbye(close.BAD_FRAME, now, message)
            case FrameTooLarge(message):
                return self._goodbye(close.TOO_LARGE, now, message)
            case HelloAccepted(kind, expires_at):
                return self._accept(kind, expires_at)
            case Opened():
                return self._open(now)
            case EndRequested(reason, message, retry_after_ms, address):
                return self._goodbye(reason, now, message, retry_after_ms, address)
            case AskedToLeave(reason, message, retry_after_ms, address):
                return self._goodbye(reason, now, message, retry_after_ms, address)
            case Ticked():
                late = self.phase is Phase.AWAITING_HELLO and now >= self.due()
                return self._goodbye(close.SLOW_HANDSHAKE, now) if late else NOTHING
            case PeerGone():
                return (Become(Closing(self, FOREVER)), *self._registered())
            case Misbehaved() | Refreshed():
                return NOTHING
            case _:
                assert_never(event)

    def due(self) -> float:
        return self._since + self.policy.handshake_s if self.phase is Phase.AWAITING_HELLO else FOREVER

    def receive_frame(self, body: str, size: int, now: float) -> Effects:
        if self.phase is Phase.OPENING:
            return self.hold_frame(size, now)
        if body == "hello":
            self.phase = Phase.OPENING
            return (CheckHello(),)
        return self._goodbye(close.UNAUTHENTICATED, now, "the first frame must be a hello: send it, then the rest")

    def hold_frame(self, size: int, now: float) -> Effects:  # noqa: ARG002 - it is counted by its bytes alone
        return self._flow.hold(size, min(self.policy.held_bytes_max, self.policy.early_bytes_max))

    def receive_part(self, size: int, now: float, *, alive: bool) -> Effects:  # noqa: ARG002 - only how many counts
        self._early_parts += 1
        return self._goodbye(close.ABUSE, now, TOO_MANY_PARTS) if self._early_parts > EARLY_PARTS_MAX else NOTHING

    def block(self) -> Effects:
        self._blocked = True
        return NOTHING  # nothing is pushed to it yet

    def unblock(self) -> Effects:
        self._blocked = False
        return NOTHING

    # ---- inside

    def _accept(self, kind: int, expires_at: float) -> Effects:
        if self.phase is not Phase.OPENING:
            return NOTHING
        self._kind, self._expires_at = kind, expires_at
        return (StoreSession(),)

    def _open(self, now: float) -> Effects:
        opened = Open(self.policy, self.delivery, now, kind=self._kind, expires_at=self._expires_at, flow=self._flow)
        paused = opened.block() if self._blocked else NOTHING
        return (Become(opened), Welcome(), *paused, *(HANDLE_HELD if self._flow.held else NOTHING))

    def _goodbye(
        self, reason: CloseReason, now: float, message: str = "", retry_after_ms: int = 0, address: str = ""
    ) -> Effects:
        closing = Become(Closing(self, now + self.policy.linger_s))
        resume = RESUME if self._flow.stopped else NOTHING
        return (closing, SayGoodbye(reason, message, retry_after_ms, address), *self._registered(), *resume)

    def _registered(self) -> Effects:
        """What is to be undone. While it is being stored, `Opened` closes it."""
        return (Unregister(),) if self.phase is Phase.OPENING else NOTHING
