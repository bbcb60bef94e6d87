"""How long to wait before the next try: to connect (route.py), or at a request (messages/outbox.py). Pure.

Guarantees: full jitter over a bound that grows with each try, so that clients that were refused together do not come
back together. The server's welcome sets the bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tidings_protocol import client_pb2 as pb

TRIES_MAX = 32  # beyond them the bound has long been reached


@dataclass(frozen=True, slots=True)
class Backoff:
    """What is usual, until a server says otherwise."""

    base_s: float = 0.5
    max_s: float = 20.0
    factor: float = 2.0

    @classmethod
    def from_proto(cls, told: pb.Backoff) -> Backoff:
        """The back-off that a server wants; what it leaves out stays as usual."""
        usual = cls()
        return cls(
            base_s=told.base_ms / 1000 if told.base_ms else usual.base_s,
            max_s=told.max_ms / 1000 if told.max_ms else usual.max_s,
            factor=told.factor if told.factor >= 1 else usual.factor,
        )

    def delay_s(self, attempt: int, random: Callable[[], float]) -> float:
        """Full jitter: evenly between 0 and the bound of this try (0 is the first)."""
        bound = min(self.max_s, self.base_s * self.factor ** min(attempt, TRIES_MAX))
        return random() * bound
