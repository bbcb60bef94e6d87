"""How a session comes about and comes back: token, address, connection, greeting, waiting, the end. Pure.

    Dormant ─▶ Asking (a token) ─▶ Opening ─▶ Greeting ─welcome─▶ Online
                  ▲                  ▲  ▲                           │
                  │                  │  └──────── Waiting ◀── lost, goodbye 4000-4499
                  └── 4500, 4506 ────┘                              │
                      and a fresh token is to be had               Over ◀── goodbye 4500-4999

Guarantees: one connection at a time, each with its own number; nothing of an earlier one counts; a refused token is
never used twice in a row.

Does not know: what is said in a live session (core/device.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tidings.core.backoff import Backoff
from tidings.core.route import Next, Route
from tidings.core.signals import AskToken, Drop, Effect, Notify, Open, Stopped
from tidings.errors import ClientClosed, TokenRefused, session_ended
from tidings.model import Link, LinkState
from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import TidingsError

GREETING_S = 10.0
TOKEN_RETRY_S = 5.0
UNAUTHENTICATED, TOKEN_EXPIRED = 4500, 4506


@dataclass(frozen=True, slots=True)
class Dormant:
    """Before it was started."""


@dataclass(frozen=True, slots=True)
class Asking:
    """The application is asked for a token."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A connection is being made."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The hello is out."""

    give_up_at: float


@dataclass(frozen=True, slots=True)
class Online:
    since: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """`url` empty: for another try to get a token."""

    url: str
    until: float


@dataclass(frozen=True, slots=True)
class Over:
    error: TidingsError


Phase = Dormant | Asking | Opening | Greeting | Online | Waiting | Over


@dataclass(frozen=True, slots=True)
class Bye:
    """How a connection ended. `code` 0: without a word. `address`: where the server wants the client to go."""

    code: int
    reason: str
    retry_after_s: float = 0.0
    address: str = ""


class Dialer:
    def __init__(self, seeds: Sequence[str], random: Callable[[], float], *, fresh_tokens: bool) -> None:
        self._route = Route(seeds, random)
        self._fresh_tokens = fresh_tokens
        self._refused_before = False
        self._effects: list[Effect] = []
        self.phase: Phase = Dormant()
        self.link = 0
        self.token = ""  # none yet  # nosec B105

    def next_wake(self) -> float | None:
        match self.phase:
            case Greeting(time) | Waiting(_, time):
                return time
            case _:
                return None

    def flush(self) -> list[Effect]:
        """What is to be done, since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def avoid(self, now: float) -> list[str]:
        """The nodes that could not be reached, as the hello says them."""
        return self._route.avoid(now)

    def start(self) -> None:
        self._ask_token(fresh=False)

    def token_ready(self, token: str) -> None:
        self.token = token
        self._open(self._route.first().url)

    def token_failed(self, reason: str, now: float, *, final: bool) -> None:
        if final:
            self.stop(TokenRefused(reason, UNAUTHENTICATED))
        else:
            self.phase = Waiting("", now + TOKEN_RETRY_S)
            self._tell(LinkState.WAITING, detail=reason, retry_in_s=TOKEN_RETRY_S)

    def greeted(self, now: float) -> None:
        """The hello went out."""
        self.phase = Greeting(now + GREETING_S)

    def open_failed(self, reason: str, now: float, retry_after_s: float) -> None:
        self._wait(self._route.failed(now, retry_after_s), reason, now)

    def welcomed(self, welcome: pb.Welcome, now: float) -> Backoff:
        """The session lives. The back-off that the server wants comes out."""
        self._refused_before = False
        self._route.welcomed(welcome.node)
        self._route.backoff = Backoff.from_proto(welcome.backoff)
        self.phase = Online(now)
        self._tell(LinkState.ONLINE, node=welcome.node)
        return self._route.backoff

    def ended(self, bye: Bye, now: float) -> None:
        """The connection is over; the number goes on, so that nothing it still says counts."""
        self._effects.append(Drop(self.link))
        self.link += 1
        if 4500 <= bye.code < 5000:
            self._refused(bye)
            return
        if bye.address:
            following = self._route.moved(bye.address, bye.retry_after_s)
        elif not isinstance(self.phase, Online):
            following = self._route.failed(now, bye.retry_after_s)
        elif bye.code >= 4000:
            following = self._route.lost(now - self.phase.since, bye.retry_after_s)
        else:
            following = self._route.broke(now - self.phase.since)
        self._wait(following, bye.reason, now)

    def tick(self, now: float) -> None:
        match self.phase:
            case Greeting(give_up_at) if now >= give_up_at:
                self.ended(Bye(0, "the server did not answer the greeting, it is tried again"), now)
            case Waiting(url, until) if now >= until:
                if url:
                    self._open(url)
                else:
                    self._ask_token(fresh=self._refused_before)
            case _:
                pass

    def leave(self) -> None:
        self.phase = Over(ClientClosed("the client was closed: open another one to go on"))
        self._tell(LinkState.CLOSED)
        self._effects.append(Stopped(None))

    def stop(self, error: TidingsError) -> None:
        self.phase = Over(error)
        self._tell(LinkState.CLOSED, detail=str(error))
        self._effects.append(Stopped(error))

    def _ask_token(self, *, fresh: bool) -> None:
        self.phase = Asking()
        self._effects.append(AskToken(fresh))

    def _open(self, url: str) -> None:
        self.link += 1
        self.phase = Opening()
        self._tell(LinkState.CONNECTING, detail=url)
        self._effects.append(Open(self.link, url))

    def _refused(self, bye: Bye) -> None:
        if bye.code in (UNAUTHENTICATED, TOKEN_EXPIRED) and self._fresh_tokens and not self._refused_before:
            self._refused_before = True
            self._ask_token(fresh=True)
        else:
            self.stop(session_ended(bye.code, bye.reason))

    def _wait(self, following: Next, reason: str, now: float) -> None:
        if following.delay_s <= 0:
            self._open(following.url)
            return
        self.phase = Waiting(following.url, now + following.delay_s)
        self._tell(LinkState.WAITING, detail=reason, retry_in_s=following.delay_s)

    def _tell(self, state: LinkState, *, node: str = "", detail: str = "", retry_in_s: float = 0.0) -> None:
        self._effects.append(Notify(Link(state, node, detail, retry_in_s)))
