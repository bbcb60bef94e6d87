"""How many connections are in which state, as the metrics show it: a sample, so that no change of state pays for it.

Does not know: when it is taken.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.access.connection.connection import Connection
from services.access.connection.session import Phase

_PHASES = {
    Phase.AWAITING_HELLO: "awaiting_hello",
    Phase.OPENING: "opening",
    Phase.OPEN: "live",
    Phase.CLOSING: "closing",
}
PAUSED = "paused"
STATES = (*_PHASES.values(), PAUSED)


def sample(connections: Iterable[Connection]) -> tuple[dict[str, int], int]:
    """Connections by state, each in one, and the bytes that wait for those that do not read."""
    counts, waiting = dict.fromkeys(STATES, 0), 0
    for connection in connections:
        session = connection.session
        state = PAUSED if session.phase is Phase.OPEN and session.outbox.paused else _PHASES[session.phase]
        counts[state] += 1
        if session.outbox.blocked:
            waiting += connection.transport.waiting_bytes
    return counts, waiting
