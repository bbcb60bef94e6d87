"""How often a connection may show a new token: a few at once, then one in a while.

Does not know: tokens, frames, clocks.
"""

from __future__ import annotations

REFRESHES_BURST = 10
REFRESH_EVERY_S = 6.0  # on average: checking a signature costs more than most frames


class RefreshLimit:
    """How often a connection may show a new token."""

    __slots__ = ("_full_at",)

    def __init__(self) -> None:
        self._full_at = 0.0

    def take(self, now: float) -> float:
        """0 if one more may be checked, else the seconds after which one may."""
        full_at = max(self._full_at, now)
        wait_s = full_at - now - (REFRESHES_BURST - 1) * REFRESH_EVERY_S
        if wait_s > 1e-9:
            return wait_s
        self._full_at = full_at + REFRESH_EVERY_S
        return 0.0
