"""The session of a connection, phase by phase: what may come when, and what follows. Pure.

Theory of operation. A connection passes through its phases and never goes back; each is a type of its own, which has
what it needs and nothing that may be missing:

    Handshaking (AWAITING_HELLO --hello--> OPENING)  --opened-->  Open
          |                                                         |
          +---------------------------------------------------------+--goodbye, bye, peer gone-->  Closing

- AWAITING_HELLO: only `hello` will do, within 5 s. Anything else, and every error until the welcome, is a goodbye.
- OPENING: the token is checked, the owner knows of the visitor, the session is being stored. Frames that were pipelined
  behind the hello are held by the shell, in order, and handled after the welcome.
- Open: the table of operations says what a frame is. A request counts as unanswered until `answer`. At
  `unanswered_max` of them (or `pages_max` requests for pages, whose answers are large) nothing more is read; what the
  transport had read already is held. One who was asked to leave finishes what is unanswered first.
  One who does not read what is written to it is not served either: its requests are held like the others.
- Closing: a goodbye was said (or the peer is gone). Nothing is handled; the shell shuts down, and cuts the connection
  off at the deadline if the peer does not.

`handle(event, now)` gives the effects, in order, for the shell to carry out. `Become`, always the first of them, is the
next phase: from then on the shell asks that one. Frames in the open phase are most of all events, so `receive_frame`
and `answer` are called directly, and effects without contents are constants: a send and its answer cost 2.4 µs here,
with an event and an effect object for each 3.4 µs.

Guarantees: one goodbye at most; a request is handed on at most once and in order; whoever was opened is closed
(CloseSession) exactly once, also if the peer left while its session was being stored. Held and unanswered requests are
bounded by the policy and by what one read of the transport may bring.

Does not know: sockets, clocks, codecs, tokens, what is in a frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum, auto

from services.access.session.delivery_state import DeliveryState
from services.access.session.events import (
    Abort,
    AskToSync,
    CloseSession,
    Dispatch,
    Effects,
    Event,
    HandleHeld,
    Hold,
    Opened,
    Pause,
    PeerGone,
    ResumeReading,
    StopReading,
    Ticked,
)
from services.access.session.heartbeat import FOREVER, HeartbeatPolicy
from services.access.session.limits import LimitPolicy, UserTraffic


class Phase(Enum):
    """Where a session stands: for those who look at it for every delivery, cheaper than its type."""

    __hash__ = object.__hash__  # Enum's own hashes the name, by a call in Python

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
    linger_s: float = 3.0


NOTHING: Effects = ()
DISPATCH: Effects = (Dispatch(),)
DISPATCH_AND_STOP: Effects = (Dispatch(), StopReading())
HOLD: Effects = (Hold(),)
HOLD_AND_STOP: Effects = (Hold(), StopReading())
HANDLE_HELD: Effects = (HandleHeld(),)
RESUME: Effects = (ResumeReading(),)
PAUSE: Effects = (Pause(),)
ASK_TO_SYNC: Effects = (AskToSync(),)


class Session(ABC):
    """One phase. The shell calls it in the event loop, and carries out what it says before the next call.

    What a phase does not say otherwise has no effects in it.
    """

    __slots__ = ("delivery", "phase", "policy")

    def __init__(self, phase: Phase, policy: SessionPolicy, delivery: DeliveryState) -> None:
        self.phase = phase
        self.policy = policy
        self.delivery = delivery

    @abstractmethod
    def handle(self, event: Event, now: float) -> Effects:
        """Everything that can happen to a connection."""

    @abstractmethod
    def due(self) -> float:
        """When to send `Ticked` at the latest, if nothing else happens."""

    def receive_frame(self, body: str, size: int, now: float) -> Effects:  # noqa: ARG002 - here and below: a phase's own
        """A frame came off the transport."""
        return NOTHING

    @property
    def holding(self) -> bool:
        """A frame that comes now is held, so that it need not be decoded yet: use `hold_frame`."""
        return False

    def hold_frame(self, size: int, now: float) -> Effects:  # noqa: ARG002
        """A frame came that has to wait."""
        return NOTHING

    def take_held(self, size: int) -> bool:  # noqa: ARG002
        """Whether the next held frame, of this many bytes, may be handled; if so it is held no more."""
        return False

    def receive_held(self, body: str, now: float) -> Effects:  # noqa: ARG002
        """A frame that was held could be read; its traffic was counted when it came."""
        return NOTHING

    def receive_part(self, size: int, now: float, *, alive: bool) -> Effects:  # noqa: ARG002
        """Something that costs work and is no frame: a control frame of WebSocket (`alive`: it is a sign of life), or
        a fragment."""
        return NOTHING

    def answer(self, body: str, now: float) -> Effects:  # noqa: ARG002
        """The request has its reply (or its outcome, if it has none)."""
        return NOTHING

    def resume_reading(self) -> Effects:
        """After what was held is handled: reads on when half of the places are free again."""
        return NOTHING

    def block(self) -> Effects:
        """More than the limit waits to be written to this connection: requests wait too, until it reads."""
        return NOTHING

    def unblock(self) -> Effects:
        """The client has read what waited for it."""
        return NOTHING

    def page_written(self, head: int, *, more: bool) -> Effects:
        """A page of a `sync` has gone out."""
        return ASK_TO_SYNC if self.delivery.page_written(head, more=more) and self.delivery.missed else NOTHING

    def count_refusal(self, code: str, now: float) -> Effects:  # noqa: ARG002
        """A request was answered with this error."""
        return NOTHING

    def share(self, traffic: UserTraffic) -> None:  # noqa: B027 - only an open phase has some
        """The user's connections have windows in common."""

    def set_away(self, away: bool) -> None:  # noqa: B027 - as above
        """Takes what `ping.idle` says: whether the user is away."""

    def idle(self, now: float) -> bool:  # noqa: ARG002
        """Whether its user is away, or nobody can be seen to be there: as presence and push notifications count it."""
        return False

    @property
    def answers_pings(self) -> bool:
        """Whether a control frame may be answered: not after the goodbye, nor while the peer does not read."""
        return False

    @property
    def unanswered(self) -> int:
        """Requests under way."""
        return 0

    @property
    def held(self) -> int:
        """Frames that wait."""
        return 0


class Closing(Session):
    """A goodbye was said, or the peer is gone: what is still under way is answered to nobody."""

    __slots__ = ("_close_at", "_unanswered")

    def __init__(self, before: Session, close_at: float) -> None:
        super().__init__(Phase.CLOSING, before.policy, before.delivery)
        self._unanswered = before.unanswered
        self._close_at = close_at

    @property
    def unanswered(self) -> int:
        return self._unanswered

    def handle(self, event: Event, now: float) -> Effects:
        match event:
            case Opened():
                # The peer left, or was evicted, while its session was being stored.
                return (CloseSession(),)
            case Ticked() if now >= self._close_at:
                self._close_at = FOREVER
                return (Abort(),)
            case PeerGone():
                self._close_at = FOREVER
        return NOTHING

    def due(self) -> float:
        return self._close_at

    def answer(self, body: str, now: float) -> Effects:  # noqa: ARG002 - it goes nowhere
        self._unanswered -= 1
        return NOTHING
