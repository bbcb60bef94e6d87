"""The flow of requests on one connection: how many are under way, what is held behind them, and when reading stops.

Guarantees: what is held is bounded by the policy, and by what one read of the transport may bring. Reading stops once,
and goes on only when nothing is held and half of the places are free again.

Does not know: frames, phases, who else is slow.
"""

from __future__ import annotations

from services.access.session.events import Effects
from services.access.session.session import HOLD, HOLD_AND_STOP, NOTHING, RESUME, SessionPolicy
from tidings_protocol.operations import Size

PAGE = Size.PAGE  # looked at for every frame


class RequestFlow:
    """The counts of one connection, from its hello to its goodbye.

    `full`: so much is under way that the next request has to wait. It is looked at several times for every frame.
    """

    __slots__ = ("_pages", "_policy", "full", "held", "held_bytes", "stopped", "unanswered")

    def __init__(self, policy: SessionPolicy) -> None:
        self._policy = policy
        self._pages = 0  # of the unanswered requests
        self.unanswered = 0
        self.full = False
        self.held = 0
        self.held_bytes = 0
        self.stopped = False

    def begin(self, size: Size) -> None:
        """Counts a request that is handed on."""
        self.unanswered += 1
        if size is PAGE:
            self._pages += 1
        policy = self._policy
        self.full = self.unanswered >= policy.unanswered_max or self._pages >= policy.pages_max

    def end(self, size: Size) -> None:
        """Counts a request no longer, which has its answer."""
        self.unanswered -= 1
        if size is PAGE:
            self._pages -= 1
        policy = self._policy
        self.full = self.unanswered >= policy.unanswered_max or self._pages >= policy.pages_max

    def hold(self, size: int, bytes_max: int) -> Effects:
        """Holds a frame of so many bytes; nothing more is read when that is enough."""
        self.held += 1
        self.held_bytes += size
        enough = self.held >= self._policy.held_max or self.held_bytes >= bytes_max
        return HOLD_AND_STOP if enough and self.stop() else HOLD

    def take(self, size: int) -> bool:
        """Holds the next frame, of so many bytes, no longer; False: none is held."""
        if not self.held:
            return False
        self.held -= 1
        self.held_bytes -= size
        return True

    def stop(self) -> bool:
        """Notes that nothing more is to be read; False: it is so already."""
        if self.stopped:
            return False
        self.stopped = True
        return True

    def resume(self) -> Effects:
        """Reads on if nothing is held and half of the places are free."""
        if not self.stopped or self.held or 2 * self.unanswered > self._policy.unanswered_max:
            return NOTHING
        self.stopped = False
        return RESUME
