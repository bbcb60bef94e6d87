"""What each frame of a client is in the open phase of a session: the table that open.py goes by; and what else it goes
by that is no setting.

Does not know: when a frame may come, what it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """What a frame is in the open phase."""

    answered: bool = True  # has a reply, or an outcome that is waited for
    used: bool = True  # shows that a person uses the client
    paged: bool = False  # the reply may be large


RULES: Mapping[str, Rule] = {
    "ping": Rule(used=False),
    "refresh": Rule(used=False),
    "send": Rule(),
    "ack": Rule(answered=False, used=False),
    "read": Rule(),
    "sync": Rule(paged=True, used=False),
    "history": Rule(paged=True),
    "conversations": Rule(paged=True),
    "group": Rule(paged=True),
    "signal": Rule(),
    "presence": Rule(),
}


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
