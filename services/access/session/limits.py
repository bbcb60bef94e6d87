"""How much a client may do: sends and parts of streams with a burst, frames, bytes and refused frames in sliding
windows.

Theory of operation. Sends have a bucket, parts another one (GCRA: one number says when it is full again). All else is
counted in sliding windows of two halves: the count of the last whole span, weighed by how much of it still lies in the
window, and the count of the present one. Over a limit: slow down (RATE_LIMITED with a time). Over `ABUSE_FACTOR` times
the limit, or over the limit of refused frames: the connection is closed with 4006 and its user and device are banned
for a while.

Each user has windows and a bucket of its own besides, `user_factor` times as wide: for the traffic and the sends of all
its connections to this node, for refused frames and for sessions begun, whatever device they name. So a thousand
connections, or a thousand device names, are no way around a limit.

Rates may be below one a second: one is always allowed where there was none for long enough.

Guarantees: memory is bounded: a few numbers for a connection. What a node remembers beyond that is in
connection/abuse_tracker.py.

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
    parts_per_s: float = 30.0  # of streams; so many at once too
    frames_per_s: float = 5000.0
    bytes_per_s: float = 16 * 1024 * 1024
    traffic_window_s: float = 10.0
    refused_per_window: float = 60.0
    refused_window_s: float = 60.0
    reconnects_per_window: float = 120.0
    reconnect_window_s: float = 60.0
    ban_s: float = 30.0
    user_factor: float = 4.0
    user_reconnect_factor: float = 20.0


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


class UserTraffic:
    """The windows and the buckets that the connections of one user share, from the second one on."""

    __slots__ = ("__weakref__", "_bytes", "_frames", "_parts_full_at", "_sends_full_at")

    def __init__(self) -> None:
        self._frames = Window()
        self._bytes = Window()
        self._sends_full_at = 0.0
        self._parts_full_at = 0.0

    def count(self, size: int, now: float, policy: LimitPolicy) -> tuple[Verdict, str]:
        """One frame came in on one of them; what there is too much of."""
        window_s = policy.traffic_window_s
        frames = self._frames.add(1.0, now, window_s)
        return judge(frames, self._bytes.add(size, now, window_s), policy, policy.user_factor)

    def sends_wait_s(self, now: float, policy: LimitPolicy) -> float:
        """How long the next send must wait by what all connections of the user sent together; counts nothing yet."""
        factor = policy.user_factor
        full_at = max(self._sends_full_at, now)
        return bucket_wait_s(full_at, now, factor * policy.sends_per_s, factor * policy.sends_burst)

    def take_send(self, now: float, policy: LimitPolicy) -> None:
        """One that is allowed by all."""
        self._sends_full_at = max(self._sends_full_at, now) + 1.0 / (policy.user_factor * policy.sends_per_s)

    def parts_wait_s(self, now: float, policy: LimitPolicy) -> float:
        """How long the next part must wait, as `sends_wait_s`."""
        rate = policy.user_factor * policy.parts_per_s
        return bucket_wait_s(max(self._parts_full_at, now), now, rate, rate)

    def take_part(self, now: float, policy: LimitPolicy) -> None:
        """One that is allowed by all."""
        self._parts_full_at = max(self._parts_full_at, now) + 1.0 / (policy.user_factor * policy.parts_per_s)


class ConnectionLimits:
    """The windows of one connection. `excess`: what there is too much of, after the verdict ABUSE."""

    __slots__ = ("_bytes", "_frames", "_parts_full_at", "_refused", "_sends_full_at", "excess", "shared")

    def __init__(self) -> None:
        self._sends_full_at = 0.0
        self._parts_full_at = 0.0
        self._frames = Window()
        self._bytes = Window()
        self._refused: Window | None = None  # few connections ever need one
        self.shared: UserTraffic | None = None
        self.excess = ""

    def count_frame(self, size: int, now: float, policy: LimitPolicy) -> Verdict:
        """One frame of this many bytes came in."""
        window_s = policy.traffic_window_s
        frames = self._frames.add(1.0, now, window_s)
        size_sum = self._bytes.add(size, now, window_s)
        shared, excess = Verdict.FINE, ""
        if self.shared is not None:
            shared, excess = self.shared.count(size, now, policy)
        # The common case, without a call.
        if (
            shared is Verdict.FINE
            and frames <= policy.frames_per_s * window_s
            and size_sum <= policy.bytes_per_s * window_s
        ):
            return Verdict.FINE
        verdict, own = judge(frames, size_sum, policy, 1.0)
        self.excess = own or excess
        return Verdict.ABUSE if Verdict.ABUSE in {verdict, shared} else shared if verdict is Verdict.FINE else verdict

    def take_send(self, now: float, policy: LimitPolicy) -> float:
        """0 if one more send is allowed, else the seconds after which one is; only an allowed one counts."""
        rate = policy.sends_per_s
        if not rate:
            return 0.0
        full_at = max(self._sends_full_at, now)
        wait_s = bucket_wait_s(full_at, now, rate, policy.sends_burst)
        if self.shared is not None:
            wait_s = max(wait_s, self.shared.sends_wait_s(now, policy))
        if wait_s:
            return wait_s
        self._sends_full_at = full_at + 1.0 / rate
        if self.shared is not None:
            self.shared.take_send(now, policy)
        return 0.0

    def take_part(self, now: float, policy: LimitPolicy) -> float:
        """As `take_send`, for one more part of a stream."""
        rate = policy.parts_per_s
        if not rate:
            return 0.0
        full_at = max(self._parts_full_at, now)
        wait_s = bucket_wait_s(full_at, now, rate, rate)
        if self.shared is not None:
            wait_s = max(wait_s, self.shared.parts_wait_s(now, policy))
        if wait_s:
            return wait_s
        self._parts_full_at = full_at + 1.0 / rate
        if self.shared is not None:
            self.shared.take_part(now, policy)
        return 0.0

    def count_refused(self, now: float, policy: LimitPolicy) -> bool:
        """One more request was refused as bad or forbidden; True: that is too many."""
        if not policy.refused_per_window:
            return False
        if self._refused is None:
            self._refused = Window()
        return self._refused.add(1.0, now, policy.refused_window_s) > policy.refused_per_window


def bucket_wait_s(full_at: float, now: float, rate: float, burst: float) -> float:
    """The seconds until a bucket that is full again at `full_at` has one; 0: it has. One always fits into it."""
    wait_s = full_at - now - (max(burst, 1.0) - 1.0) / rate
    return wait_s if wait_s > 1e-9 else 0.0


def judge(frames: float, size_sum: float, policy: LimitPolicy, factor: float) -> tuple[Verdict, str]:
    """What so much in a window is, and what there is too much of: `frames` or `bytes`."""
    # A rate of less than one in the window still lets one through.
    frames_max = max(1.0, factor * policy.frames_per_s * policy.traffic_window_s) if policy.frames_per_s else 0.0
    bytes_max = factor * policy.bytes_per_s * policy.traffic_window_s
    if frames_max and frames > ABUSE_FACTOR * frames_max:
        return Verdict.ABUSE, "frames"
    if bytes_max and size_sum > ABUSE_FACTOR * bytes_max:
        return Verdict.ABUSE, "bytes"
    if (frames_max and frames > frames_max) or (bytes_max and size_sum > bytes_max):
        return Verdict.SLOW_DOWN, ""
    return Verdict.FINE, ""
