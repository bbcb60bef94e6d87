"""How much a client may do: sends with a burst, frames, bytes and refused frames in sliding windows, reconnects, bans.

Theory of operation. Sends have a bucket (GCRA: one number says when it is full again). All else is counted in sliding
windows of two halves: the count of the last whole span, weighed by how much of it still lies in the window, and the
count of the present one. Over a limit: slow down (RATE_LIMITED with a time). Over `ABUSE_FACTOR` times the limit, or
over the limit of refused frames: the connection is closed with 4006 and its user and device are banned for a while.

A ban is of the user and device, never of an address: behind a load balancer an address is everyone's, and a loopback
address is the operator's own.

Guarantees: memory is bounded: a few numbers for a connection, and at most `entries_max` users and devices in the
node's tables; when those are full, newcomers are not counted, and nobody is refused because of others.

Does not know: frames, codes, clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

ABUSE_FACTOR = 2.0


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """0 means no limit."""

    sends_per_s: float = 1000.0
    sends_burst: float = 2000.0
    frames_per_s: float = 5000.0
    bytes_per_s: float = 16 * 1024 * 1024
    traffic_window_s: float = 10.0
    refused_per_window: float = 60.0
    refused_window_s: float = 60.0
    reconnects_per_window: float = 120.0
    reconnect_window_s: float = 60.0
    ban_s: float = 30.0


class Verdict(Enum):
    """What a window says about one more."""

    FINE = "fine"
    SLOW_DOWN = "slow_down"
    ABUSE = "abuse"


class Window:
    """A sliding window over one count."""

    __slots__ = ("_before", "_count", "_start")

    def __init__(self) -> None:
        self._start = 0.0
        self._before = 0.0
        self._count = 0.0

    def add(self, amount: float, now: float, span_s: float) -> float:
        """Counts it; how much is in the window now."""
        passed = now - self._start
        if passed >= span_s:
            # The first event after a silence begins a new span, so that a burst is counted exactly.
            self._before = self._count if passed < 2 * span_s else 0.0
            self._start = self._start + span_s if passed < 2 * span_s else now
            self._count = 0.0
            passed = now - self._start
        self._count += amount
        return self._count + self._before * (1.0 - passed / span_s)


class ConnectionLimits:
    """The windows of one connection."""

    __slots__ = ("_bytes", "_frames", "_refused", "_sends_full_at")

    def __init__(self) -> None:
        self._sends_full_at = 0.0
        self._frames = Window()
        self._bytes = Window()
        self._refused: Window | None = None  # few connections ever need one

    def count_frame(self, size: int, now: float, policy: LimitPolicy) -> Verdict:
        """One frame of this many bytes came in."""
        window_s = policy.traffic_window_s
        frames = self._frames.add(1.0, now, window_s)
        size_sum = self._bytes.add(size, now, window_s)
        frames_max = policy.frames_per_s * window_s
        bytes_max = policy.bytes_per_s * window_s
        if (not frames_max or frames <= frames_max) and (not bytes_max or size_sum <= bytes_max):
            return Verdict.FINE
        if (frames_max and frames > ABUSE_FACTOR * frames_max) or (bytes_max and size_sum > ABUSE_FACTOR * bytes_max):
            return Verdict.ABUSE
        return Verdict.SLOW_DOWN

    def take_send(self, now: float, policy: LimitPolicy) -> float:
        """0 if one more send is allowed, else the seconds after which one is; only an allowed one counts."""
        if not policy.sends_per_s:
            return 0.0
        full_at = max(self._sends_full_at, now)
        wait_s = full_at - now - (policy.sends_burst - 1.0) / policy.sends_per_s
        if wait_s > 1e-9:
            return wait_s
        self._sends_full_at = full_at + 1.0 / policy.sends_per_s
        return 0.0

    def count_refused(self, now: float, policy: LimitPolicy) -> bool:
        """One more request was refused as bad or forbidden; True: that is too many."""
        if not policy.refused_per_window:
            return False
        if self._refused is None:
            self._refused = Window()
        return self._refused.add(1.0, now, policy.refused_window_s) > policy.refused_per_window


@dataclass(frozen=True, slots=True)
class Device:
    """Whom a ban is of."""

    user: str
    device: str


class Conduct:
    """What a node remembers of users and devices beyond their connections: reconnects and bans."""

    def __init__(self, policy: LimitPolicy, *, entries_max: int = 50_000) -> None:
        self._policy = policy
        self._entries_max = entries_max
        self._bans: dict[Device, float] = {}
        self._span_start = 0.0
        self._hellos: dict[Device, int] = {}
        self._hellos_before: dict[Device, int] = {}

    def count_hello(self, who: Device, now: float) -> bool:
        """One more session is asked for; True: too many in the window, so a ban is due."""
        limit, span_s = self._policy.reconnects_per_window, self._policy.reconnect_window_s
        if not limit:
            return False
        self._turn(now, span_s)
        known = self._hellos.get(who, 0)
        if known or len(self._hellos) < self._entries_max:
            self._hellos[who] = known + 1
        share = 1.0 - (now - self._span_start) / span_s
        return known + 1 + self._hellos_before.get(who, 0) * share > limit

    def ban(self, who: Device, now: float) -> float:
        """From now on, for this many seconds."""
        if len(self._bans) >= self._entries_max:
            self.sweep(now)
        if len(self._bans) < self._entries_max:
            self._bans[who] = now + self._policy.ban_s
        return self._policy.ban_s

    def banned_for(self, who: Device, now: float) -> float:
        """Seconds that are left; 0: not banned."""
        until = self._bans.get(who)
        if until is None:
            return 0.0
        if until <= now:
            del self._bans[who]
            return 0.0
        return until - now

    def sweep(self, now: float) -> int:
        """Forgets what is over; how many bans are in force."""
        self._bans = {who: until for who, until in self._bans.items() if until > now}
        self._turn(now, self._policy.reconnect_window_s)
        return len(self._bans)

    def _turn(self, now: float, span_s: float) -> None:
        passed = now - self._span_start
        if passed >= span_s:
            self._hellos_before = self._hellos if passed < 2 * span_s else {}
            self._hellos = {}
            self._span_start = now if passed >= 2 * span_s else self._span_start + span_s


class Admission:
    """Which new connections a node takes: so many a second (with one second's burst), so many without a session."""

    __slots__ = ("_full_at", "_handshakes_max", "_rate", "handshakes")

    def __init__(self, *, per_s: float, handshakes_max: int) -> None:
        self._rate = per_s
        self._handshakes_max = handshakes_max
        self._full_at = 0.0
        self.handshakes = 0

    def ask(self, now: float) -> float:
        """0: come in; else the seconds after which to try again."""
        if self.handshakes >= self._handshakes_max:
            return 1.0
        if not self._rate:
            return 0.0
        full_at = max(self._full_at, now)
        wait_s = full_at - now - (self._rate - 1.0) / self._rate
        if wait_s > 1e-9:
            return max(wait_s, 1.0)
        self._full_at = full_at + 1.0 / self._rate
        return 0.0
