"""What a node remembers of users and devices beyond their connections: reconnects, refused requests, bans.

A ban is of the user and device, never of an address: behind a load balancer an address is everyone's, and a loopback
address is the operator's own.

Guarantees: memory is bounded: at most `entries_max` users and devices in each table; when it is full, newcomers are not
counted, and nobody is refused because of others.

Does not know: frames, codes, clocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from services.access.session.limits import LimitPolicy, UserTraffic
from services.common.telemetry import metrics

K = TypeVar("K")


class Tally(Generic[K]):
    """A sliding window over the counts of many keys; when it is full, newcomers are not remembered."""

    __slots__ = ("_before", "_counts", "_entries_max", "_span_s", "_start")

    def __init__(self, span_s: float, entries_max: int) -> None:
        self._span_s = span_s
        self._entries_max = entries_max
        self._start = 0.0
        self._counts: dict[K, int] = {}
        self._before: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._counts) + len(self._before)

    def add(self, key: K, now: float) -> float:
        """Counts one more; how many are in the window now."""
        self.expire(now)
        known = self._counts.get(key, 0)
        if known or len(self._counts) < self._entries_max:
            self._counts[key] = known + 1
        share = 1.0 - (now - self._start) / self._span_s
        return known + 1 + self._before.get(key, 0) * share

    def expire(self, now: float) -> None:
        """Forgets what is over."""
        passed = now - self._start
        if passed >= self._span_s:
            self._before = self._counts if passed < 2 * self._span_s else {}
            self._counts = {}
            self._start = now if passed >= 2 * self._span_s else self._start + self._span_s


@dataclass(frozen=True, slots=True)
class Device:
    """Whom a ban is of."""

    user: str
    device: str


class AbuseTracker:
    """What is remembered of all users and devices of one node."""

    def __init__(self, policy: LimitPolicy, *, entries_max: int = 50_000) -> None:
        self._policy = policy
        self._entries_max = entries_max
        self._bans: dict[Device, float] = {}
        self._hellos: Tally[Device] = Tally(policy.reconnect_window_s, entries_max)
        self._user_hellos: Tally[str] = Tally(policy.reconnect_window_s, entries_max)
        self._user_refused: Tally[str] = Tally(policy.refused_window_s, entries_max)
        # Alive as long as a connection has it.
        self._traffic: WeakValueDictionary[str, UserTraffic] = WeakValueDictionary()

    @property
    def ban_s(self) -> float:
        return self._policy.ban_s

    def count_hello(self, who: Device, now: float) -> bool:
        """One more session is asked for; True: too many in the window, so a ban is due."""
        limit = self._policy.reconnects_per_window
        return bool(limit) and self._hellos.add(who, now) > limit

    def count_user_hello(self, user: str, now: float) -> bool:
        """Counts a hello of any device of the user, whatever its name; True: turn it away, without a ban."""
        limit = self._policy.reconnects_per_window * self._policy.user_reconnect_factor
        return bool(limit) and self._user_hellos.add(user, now) > limit

    def count_refused(self, user: str, now: float) -> bool:
        """One more bad or forbidden request, on any connection of the user; True: that is too many."""
        limit = self._policy.refused_per_window * self._policy.user_factor
        return bool(limit) and self._user_refused.add(user, now) > limit

    def traffic_of(self, user: str) -> UserTraffic:
        """What the connections of this user share."""
        found = self._traffic.get(user)
        if found is None:
            found = self._traffic[user] = UserTraffic()
        return found

    def ban(self, who: Device, kind: str, now: float) -> float:
        """Bans the device from now on; for how many seconds. `kind`: what it did, for the count."""
        metrics.BANS.labels(kind).inc()
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
        for tally in (self._hellos, self._user_hellos, self._user_refused):
            tally.expire(now)
        return len(self._bans)
