"""What open.py goes by that is neither a setting nor in the table of operations.

Does not know: when a frame may come, what it asks for.
"""

from __future__ import annotations

TOO_MUCH = "far too many frames or bytes in a short time"
# Parts of frames and control frames before the welcome: a hello in fragments has a good part of them.
EARLY_PARTS_MAX = 2048
ONLY_PONGS = "this client only answered probes for too long; connect again"
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
