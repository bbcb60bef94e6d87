"""The pause between two tries at something that is away: it doubles up to a limit, and ends with the first success.

Guarantees: pure. Does not know: what is tried; that several who try do not do so in step (who wants that adds chance).
"""

from __future__ import annotations


class Backoff:
    """Pauses in seconds."""

    __slots__ = ("_first_s", "_max_s", "_next_s")

    def __init__(self, first_s: float = 0.1, max_s: float = 1.0) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._next_s = first_s

    def next_s(self) -> float:
        """The pause before the next try."""
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, self._max_s)
        return pause_s

    def reset(self) -> None:
        """A try has succeeded: the next pause is a first one."""
        self._next_s = self._first_s
