"""Who may come in: what the transports ask of the node before they make a connection.

    reserve    a socket was accepted: it has a place, until it is released or forgotten
    hold       what it sends before its session is stored, against what all of them may hold together
    admission_delay_s    it asks to come in: by its address, by the node's state, by the rate of all

Guarantees: at most `handshakes_max` sockets and connections without a session, `connections_max` in all, `per_s` new
ones a second (with one second's burst); every refusal is counted by its reason. Only who comes in counts against a
rate.

Does not know: HTTP, frames, what becomes of a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

from services.access.admission.addresses import AddressLimit
from services.access.session.limits import bucket_wait_s
from services.common.clock import Clock
from services.common.telemetry import metrics

FULL_S = 1.0


class Door(Protocol):
    """What the transports ask before they let a connection in."""

    def reserve(self, arrival: object) -> bool:
        """A socket was accepted, which counts as long as `arrival` lives or until it is released; False: there are
        too many that have not said what they want."""
        ...

    def release(self, arrival: object) -> None:
        """The arrival has asked to come in, or is gone."""
        ...

    def admission_delay_s(self, address: str) -> float:
        """0: who comes from there may come in; else the seconds after which to try again."""
        ...

    def hold(self, size: int) -> bool:
        """Counts bytes that came in on a connection without a session; False: all such together hold too many."""
        ...

    def give_back(self, size: int) -> None:
        """A connection that held so many bytes has its session, or is gone."""
        ...

    def route(self, user: str) -> dict[str, Any]:
        """Where the user should connect. Raises BadRequest, Unavailable."""
        ...


class Inside(Protocol):
    """What is needed of services.access.connections.Connections."""

    @property
    def accepting(self) -> bool: ...

    @property
    def handshakes(self) -> int:
        """Connections without a session."""
        ...

    def __len__(self) -> int: ...


class Admission:
    """How many new connections a node takes: so many a second, so many without a session. Pure.

    A connection counts from the moment it is accepted: first as an arrival, which has not asked to come in (its TLS or
    HTTP handshake is under way) and is let go by being forgotten; then as a handshake, which others count.
    """

    __slots__ = ("_arrivals", "_full_at", "_handshakes_max", "_rate")

    def __init__(self, *, per_s: float, handshakes_max: int) -> None:
        self._rate = per_s
        self._handshakes_max = handshakes_max
        self._full_at = 0.0
        self._arrivals: WeakSet[object] = WeakSet()

    def under_way(self, handshakes: int) -> int:
        """Arrivals, and connections without a session."""
        return handshakes + len(self._arrivals)

    def reserve(self, arrival: object, handshakes: int) -> bool:
        """A socket was accepted; False: there are too many that have not said what they want."""
        if self.under_way(handshakes) >= self._handshakes_max:
            return False
        self._arrivals.add(arrival)
        return True

    def release(self, arrival: object) -> None:
        """Counts an arrival no longer: it asked to come in, or is gone."""
        self._arrivals.discard(arrival)

    def delay_s(self, handshakes: int, now: float) -> float:
        """0: come in; else the seconds after which to try again."""
        if self.under_way(handshakes) >= self._handshakes_max:
            return FULL_S
        if not self._rate:
            return 0.0
        full_at = max(self._full_at, now)
        wait_s = bucket_wait_s(full_at, now, self._rate, self._rate)
        if wait_s:
            return max(wait_s, FULL_S)
        self._full_at = full_at + 1.0 / self._rate
        return 0.0


class EarlyBytes:
    """What all connections without a session hold together: at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def hold(self, size: int) -> bool:
        """Counts so many bytes more; False: that is too much, and they do not count."""
        if self.held + size > self._most:
            metrics.CONNECTIONS_REFUSED.labels("handshake_bytes").inc()
            return False
        self.held += size
        return True

    def give_back(self, size: int) -> None:
        """Counts so many bytes fewer."""
        self.held -= size


class FrontDoor:
    """The Door of both transports. `route` answers `/v1/route`."""

    def __init__(
        self,
        inside: Inside,
        admission: Admission,
        addresses: AddressLimit,
        early: EarlyBytes,
        clock: Clock,
        *,
        connections_max: int,
        route: Callable[[str], dict[str, Any]],
    ) -> None:
        self._inside = inside
        self._admission = admission
        self._addresses = addresses
        self._early = early
        self._clock = clock
        self._connections_max = connections_max
        self._route = route
        metrics.CONNECTIONS_MAX.set(connections_max)

    def under_way(self) -> int:
        """Sockets and connections without a session."""
        return self._admission.under_way(self._inside.handshakes)

    def reserve(self, arrival: object) -> bool:
        if self._admission.reserve(arrival, self._inside.handshakes):
            return True
        metrics.CONNECTIONS_REFUSED.labels("handshakes").inc()
        return False

    def release(self, arrival: object) -> None:
        self._admission.release(arrival)

    def admission_delay_s(self, address: str) -> float:
        now = self._clock.now_s()
        wait_s = self._addresses.delay_s(address, now)
        if wait_s:
            metrics.CONNECTIONS_REFUSED.labels("address").inc()
            return wait_s
        inside = self._inside
        if not inside.accepting or len(inside) >= self._connections_max:
            metrics.CONNECTIONS_REFUSED.labels("full" if inside.accepting else "draining").inc()
            return FULL_S
        wait_s = self._admission.delay_s(inside.handshakes, now)
        if wait_s:
            metrics.CONNECTIONS_REFUSED.labels("rate").inc()
        return wait_s

    def hold(self, size: int) -> bool:
        return self._early.hold(size)

    def give_back(self, size: int) -> None:
        self._early.give_back(size)

    def route(self, user: str) -> dict[str, Any]:
        return self._route(user)
