"""The shell's clocks, as a port: pure code takes `now` as an argument, shells take it from here.

Guarantees: `now_s` never goes back and its zero means nothing; `wall_ms` is the time of day, which may jump, so
nothing may be ordered by it.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the simulation replaces with virtual time."""

    def now_s(self) -> float:
        """Monotonic seconds, for intervals and deadlines."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970 (UTC), for people and tokens."""
        ...


class SystemClock:
    """The clocks of the machine."""

    __slots__ = ()

    def now_s(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is told to go on: for tests and simulation."""

    __slots__ = ("_now_s", "_wall_offset_ms")

    def __init__(self, now_s: float = 0.0, wall_ms: int = 1_700_000_000_000) -> None:
        self._now_s = now_s
        self._wall_offset_ms = wall_ms - round(now_s * 1000)

    def now_s(self) -> float:
        return self._now_s

    def wall_ms(self) -> int:
        return self._wall_offset_ms + round(self._now_s * 1000)

    def advance(self, seconds: float) -> None:
        """Both clocks go on by this much; never back."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back: use jump for the time of day")
        self._now_s += seconds

    def jump(self, milliseconds: int) -> None:
        """Only the time of day moves, as when an administrator sets the clock."""
        self._wall_offset_ms += milliseconds
