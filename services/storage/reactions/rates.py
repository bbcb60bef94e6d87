"""How often one user acts on one message: at most ACTS_MAX times an hour.

Guarantees: pure, and bounded: the KEPT pairs of user and message that acted last are remembered, which a restart and a
change of the owner forget.
Does not know: what the acts are. A repeat that changes nothing is none.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from services.storage.repository.reactions import Reactor

ACTS_MAX: Final = 40
WINDOW_S: Final = 3600.0
KEPT: Final = 50_000


class ActRates:
    """Times are seconds of a clock that never goes back."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._acts: OrderedDict[Reactor, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._acts)

    def allows(self, reactor: Reactor, now_s: float) -> bool:
        """Whether one more act is allowed now."""
        acts = self._acts.get(reactor)
        return acts is None or len(acts) < ACTS_MAX or acts[0] <= now_s - WINDOW_S

    def note(self, reactor: Reactor, now_s: float) -> None:
        """There was one more."""
        acts = self._acts.setdefault(reactor, [])
        self._acts.move_to_end(reactor)
        acts.append(now_s)
        del acts[:-ACTS_MAX]
        if len(self._acts) > self._kept:
            self._acts.popitem(last=False)

    def take_back(self, reactor: Reactor) -> None:
        """The last act noted was none: it could not be stored."""
        if acts := self._acts.get(reactor):
            acts.pop()
