"""When a live session pings, when it gives its server up, and when it acknowledges. Pure.

Guarantees: a ping in each of the server's intervals, however much else is sent (only a pong tells that a large group
has moved on without us), or when an answer is owed and nothing has come for `PROBE_S`; the connection counts as dead
`PONG_S` after a ping that nothing followed, but not because this process itself was asleep; at most one acknowledgement
in `ACK_S`.
"""

from __future__ import annotations

from dataclasses import dataclass

ACK_S = 0.2
PROBE_S = 5.0
PONG_S = 10.0
LATE_S = 1.0


@dataclass(slots=True)
class Pulse:
    """`ping_at`: the next heartbeat. `probe_at`: an answer is owed. `silent_at`: something must have come by then."""

    since: float
    heartbeat_s: float
    idle_heartbeat_s: float
    acked: int
    idle: bool = False
    ping_at: float = 0.0
    ack_at: float = 0.0
    probe_at: float | None = None
    silent_at: float | None = None

    def next_wake(self, cursor: int) -> float:
        times = [self.ping_at, self.probe_at, self.silent_at, self.ack_at if cursor > self.acked else None]
        return min(time for time in times if time is not None)

    def wait(self, now: float) -> None:
        """The next heartbeat is an interval from now."""
        self.ping_at = now + (self.idle_heartbeat_s if self.idle else self.heartbeat_s)

    def pinged(self, now: float) -> None:
        self.wait(now)
        self.probe_at = None
        if self.silent_at is None:
            self.silent_at = now + PONG_S

    def heard(self, now: float, *, owed: bool) -> None:
        """A frame came. `owed`: there are answers still to come."""
        self.silent_at = None
        self.probe_at = now + PROBE_S if owed else None

    def owe(self, now: float) -> None:
        """The server has something to answer."""
        if self.probe_at is None and self.silent_at is None:
            self.probe_at = now + PROBE_S

    def ping_due(self, now: float) -> bool:
        return now >= self.ping_at or (self.probe_at is not None and now >= self.probe_at)

    def dead(self, now: float) -> bool:
        """Whether the server must be given up."""
        if self.silent_at is None or now < self.silent_at:
            return False
        if now - self.silent_at <= LATE_S:
            return True
        # We were asleep ourselves: what came meanwhile has not been read yet.
        self.silent_at = now + LATE_S
        return False

    def ack_due(self, cursor: int, now: float) -> bool:
        """Whether to acknowledge up to `cursor` now; it then counts as done."""
        if cursor <= self.acked or now < self.ack_at:
            return False
        self.acked = cursor
        self.ack_at = now + ACK_S
        return True
