"""When a session that lives needs a new token, so that it does not end with the one it has. Pure.

Guarantees: one is asked for a while before the old one ends, by the server's clock; if none can be had, or the server
does not take it, again and again, with half of what is left in between. A token that says no end is left alone.

Does not know: where tokens come from, nor what becomes of the session when its token ends (dialer.py).
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable

MARGIN_S = 60.0
MARGIN_PART = 0.2  # of a short life
AGAIN_MIN_S = 5.0


class Renewal:
    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._server_ahead_s = 0.0  # of our own clock, which begins anywhere
        self._ends_at: float | None = None
        self._ask_at: float | None = None

    def next_wake(self) -> float | None:
        return self._ask_at

    def begin(self, token: str, server_ms: int, now: float) -> None:
        """A session lives with this token."""
        self._server_ahead_s = server_ms / 1000 - now
        self.renewed(token, now)

    def renewed(self, token: str, now: float) -> None:
        """The session lives with this one from now on."""
        end_s = end_of(token)
        self._ends_at = self._ask_at = None
        if end_s is not None:
            self._ends_at = end_s - self._server_ahead_s
            margin_s = min(MARGIN_S, MARGIN_PART * (self._ends_at - now))
            # Some earlier than others: those of a crowd that logged in together would all ask at once.
            self._ask_at = self._ends_at - margin_s * (1 + self._random())

    def failed(self, now: float) -> None:
        """No other token could be had, or it was refused."""
        if self._ends_at is not None:
            again = now + max(AGAIN_MIN_S, (self._ends_at - now) / 2)
            self._ask_at = again if again < self._ends_at else None

    def stop(self) -> None:
        """The session is over."""
        self._ends_at = self._ask_at = None

    def due(self, now: float) -> bool:
        """Whether to ask for one now; it then counts as asked."""
        if self._ask_at is None or now < self._ask_at:
            return False
        self._ask_at = None
        return True


def end_of(token: str) -> float | None:
    """When a JWT ends, in seconds since 1970, whatever its signature says; None: it does not tell."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
