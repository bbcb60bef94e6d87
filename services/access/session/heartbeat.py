"""Who is still there: when a silent connection is probed, when it is given up, and the one wheel that wakes for it.

Theory of operation. Every complete frame counts as life and does nothing but write down its time; no timer is moved
for it. A connection sits in one place of a timing wheel, at a time when something may be due. When the wheel gets
there, the connection looks at its own times: if it lived meanwhile, it goes back into the wheel, further on. So a busy
connection costs a dictionary entry every interval and a half, and an idle one nothing in between.

    heard + 1.5 x interval     late: probe 1
    + 5 s, + 5 s               probes 2 and 3
    + 5 s                      lost

A page in a browser's back/forward cache answers probes for as long as the browser likes, and throws away what it is
sent. So a sign of life that is no frame (a pong) keeps a connection from being lost, and no more:

    said + 2 x interval                    idle: nobody is there to see what is pushed
    said + 300 s, at least 2.5 x interval  silent: it is ended, and may come back

A client that keeps to the protocol pings every interval, so it is never silent for two.

The interval is the device kind's; a mobile client that was not used for `idle_after_s`, and any client that says that
its user is away, has the idle one.

Guarantees: an entry is woken not before the time that it asked for and at most one tick (and the caller's delay)
after it. An entry is in the wheel at most once, and not at all once it was discarded.

Does not know: connections, clocks, what a probe is.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from tidings_protocol import client_pb2

MOBILE = client_pb2.Hello.MOBILE
FOREVER = float("inf")
ONLY_PONGS = "this client only answered probes for too long: connect again, and send a ping every heartbeat"


@dataclass(frozen=True, slots=True)
class HeartbeatPolicy:
    """The intervals of protocol.md; seconds."""

    interval_s: float = 15.0
    mobile_interval_s: float = 30.0
    idle_interval_s: float = 120.0
    idle_after_s: float = 300.0
    late_factor: float = 1.5
    probes: int = 3
    probe_gap_s: float = 5.0
    idle_factor: float = 2.0
    silent_factor: float = 2.5
    silent_s: float = 300.0

    def interval_of(self, kind: int) -> float:
        """What a device of this kind is told in its welcome."""
        return self.mobile_interval_s if kind == MOBILE else self.interval_s


class Life(Enum):
    """What a look at a connection's pulse says."""

    ALIVE = "alive"
    LATE = "late"  # probe it
    LOST = "lost"
    SILENT = "silent"  # it answers probes and says nothing


class Pulse:
    """The signs of life of one connection, in seconds on the clock of its caller."""

    __slots__ = ("away", "heard", "mobile", "probes", "said", "used")

    def __init__(self, kind: int, now: float) -> None:
        self.mobile = kind == MOBILE
        self.away = False
        self.heard = now
        self.said = now
        self.used = now
        self.probes = 0

    def beat(self, now: float) -> None:
        """A frame was heard."""
        self.heard = self.said = now
        self.probes = 0

    def answer_probe(self, now: float) -> None:
        """Something complete was heard that is no frame."""
        self.heard = now
        self.probes = 0

    def idle(self, now: float, policy: HeartbeatPolicy) -> bool:
        """Whether nobody is there to see what is pushed: the client says so, or says nothing."""
        return self.away or now - self.said >= policy.idle_factor * self.interval(policy)

    def due(self, policy: HeartbeatPolicy) -> float:
        """When to look next, if nothing is heard until then."""
        interval_s = self.interval(policy)
        late = self.heard + policy.late_factor * interval_s + self.probes * policy.probe_gap_s
        return min(late, self._silent_at(interval_s, policy))

    def check(self, now: float, policy: HeartbeatPolicy) -> Life:
        """Says how it lives, at `due` or later; LATE counts as one probe sent."""
        if now < self.due(policy):
            return Life.ALIVE
        if now >= self._silent_at(self.interval(policy), policy):
            return Life.SILENT
        if self.probes >= policy.probes:
            return Life.LOST
        self.probes += 1
        return Life.LATE

    def interval(self, policy: HeartbeatPolicy) -> float:
        """The one that holds now. Whether a mobile client is idle is judged at its last sign of life, so that
        silence alone never makes its own deadline later."""
        idle = self.away or (self.mobile and self.heard - self.used >= policy.idle_after_s)
        if idle:
            return policy.idle_interval_s
        return policy.mobile_interval_s if self.mobile else policy.interval_s

    def _silent_at(self, interval_s: float, policy: HeartbeatPolicy) -> float:
        return self.said + max(policy.silent_s, policy.silent_factor * interval_s)


class Scheduled(Hashable, Protocol):
    """What sits in a wheel: it keeps its place for the wheel, 0 when it is in none."""

    wheel_tick: int


T = TypeVar("T", bound=Scheduled)


class TimingWheel(Generic[T]):
    """Entries by the time at which they want to be woken, in ticks. Later than one turn: woken once a turn."""

    __slots__ = ("_places", "_tick", "tick_s")

    def __init__(self, now: float, *, tick_s: float = 0.25, places: int = 1024) -> None:
        self.tick_s = tick_s
        self._places: list[dict[T, None]] = [{} for _ in range(places)]
        self._tick = int(now / tick_s)

    def __len__(self) -> int:
        return sum(map(len, self._places))

    def schedule(self, entry: T, due: float) -> None:
        """Wakes it at `due`, or before if that was asked for already. FOREVER: leaves it as it is."""
        if due == FOREVER:
            return
        # One tick later than the one that `due` falls into: never woken early.
        tick = int(due / self.tick_s) + 1
        if 0 < entry.wheel_tick <= tick:
            return
        turn = len(self._places)
        tick = min(max(tick, self._tick + 1), self._tick + turn - 1)
        if entry.wheel_tick:
            del self._places[entry.wheel_tick % turn][entry]
        entry.wheel_tick = tick
        self._places[tick % turn][entry] = None

    def discard(self, entry: T) -> None:
        """Forgets a connection that ends."""
        if entry.wheel_tick:
            del self._places[entry.wheel_tick % len(self._places)][entry]
            entry.wheel_tick = 0

    def advance(self, now: float) -> list[T]:
        """Who is to be woken; they are out of the wheel and schedule themselves again."""
        woken: list[T] = []
        until = int(now / self.tick_s)
        turn = len(self._places)
        # After a pause of more than a turn every place is due, and once is enough.
        for tick in range(max(self._tick, until - turn) + 1, until + 1):
            place = self._places[tick % turn]
            if place:
                self._places[tick % turn] = {}
                woken += place
        for entry in woken:
            entry.wheel_tick = 0
        self._tick = max(self._tick, until)
        return woken
