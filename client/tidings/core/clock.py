"""What time it is for the server, by what it said last and the clock of this device. Pure.

Guarantees: it is behind the server's by what the server's word took to come, at most. Before the first word it is 0.
"""

from __future__ import annotations


class ServerClock:
    def __init__(self) -> None:
        self._ahead_s: float | None = None  # of our own clock, which begins anywhere

    def told(self, time_ms: int, now: float) -> None:
        """The server said what time it is."""
        if time_ms:
            self._ahead_s = time_ms / 1000 - now

    def time_ms(self, now: float) -> int:
        """Milliseconds since 1970."""
        return 0 if self._ahead_s is None else round((now + self._ahead_s) * 1000)

    def when(self, time_ms: int) -> float | None:
        """When that is by our own clock; None: it is not known."""
        return None if self._ahead_s is None else time_ms / 1000 - self._ahead_s
