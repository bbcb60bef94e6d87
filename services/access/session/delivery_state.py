"""What one connection was shown, what it holds, and whether it keeps up.

Theory of operation. The unit of a slow consumer is the byte: the transport says when more than the limit waits to be
written (`block`) and when it has drained (`unblock`). From `block` on the connection is paused: it is told once, gets
no pushes, and fetches what it missed by `sync`. It is live again when a `page` without `more` has gone out and the
transport is no longer blocked. What was dropped after that page was read shows by its number: then the client is
nudged to sync once more.

    live    --block-->                            paused, blocked      tell it (paused = true)
    paused  --page, more = false; not blocked-->  live                 nudge it if something newer was dropped
    paused  --page, more = false; blocked-->      paused, caught up
    paused, caught up  --unblock-->               live                 nudge it if something newer was dropped

A push with an inbox number that is not acknowledged for `ack_timeout_s` brings one nudge (paused = false), and no
second one before an acknowledgement.

Guarantees: at most one `paused` per pause; memory is a few numbers. `shown` never goes back.

Does not know: frames, sockets, what was in a push.
"""

from __future__ import annotations

FOREVER = float("inf")


class DeliveryState:
    """The state of one connection, in inbox numbers and in seconds on the clock of its caller."""

    __slots__ = (
        "_awaited",
        "_caught_up",
        "_dropped",
        "_nudged",
        "_waiting_since",
        "acked",
        "blocked",
        "paused",
        "shown",
    )

    def __init__(self) -> None:
        self.shown = 0  # the highest number that the client knows of: by a push, a reply, the welcome, a pong
        self.acked = 0
        self.paused = False
        self.blocked = False
        self._awaited = 0  # the highest that was pushed live and is to be acknowledged
        self._waiting_since = FOREVER
        self._nudged = False
        self._dropped = 0
        self._caught_up = False

    def show(self, number: int) -> None:
        """The client knows of this number by something that needs no acknowledgement."""
        self.shown = max(self.shown, number)

    def push(self, number: int, now: float) -> bool:
        """Whether this push (0: without a number) may be written; if so it counts as written."""
        if self.paused:
            self._dropped = max(self._dropped, number)
            return False
        if number > self.acked:
            self.shown = max(self.shown, number)
            self._awaited = max(self._awaited, number)
            if self._waiting_since == FOREVER:
                self._waiting_since = now
        return True

    def acknowledge(self, number: int, now: float) -> bool:
        """The device holds everything up to this number; False: nothing new."""
        if number <= self.acked:
            return False
        self.acked = number
        self._nudged = False
        self._waiting_since = FOREVER if number >= self._awaited else now
        return True

    def block(self) -> bool:
        """More than the limit waits to be written; True: the pause begins, tell the client."""
        self.blocked = True
        self._caught_up = False
        if self.paused:
            return False
        self.paused = True
        self._waiting_since = FOREVER
        return True

    def unblock(self) -> bool:
        """The transport has drained; True: live again."""
        self.blocked = False
        return self.paused and self._caught_up and self._resume()

    def page_written(self, head: int, *, more: bool) -> bool:
        """A page of a `sync` has gone out that was read when the inbox ended at `head`; True: live again."""
        self.show(head)
        if not self.paused or more:
            return False
        if self.blocked:
            self._caught_up = True
            return False
        return self._resume()

    @property
    def missed(self) -> bool:
        """Something was dropped that no page has covered: nudge the client."""
        return self._dropped > self.shown

    def nudge_head(self) -> int:
        """The number that a nudge shows."""
        self.shown = max(self.shown, self._dropped)
        self._dropped = 0
        return self.shown

    def due(self, ack_timeout_s: float) -> float:
        """When an acknowledgement is overdue."""
        return FOREVER if self._nudged else self._waiting_since + ack_timeout_s

    def check(self, now: float, ack_timeout_s: float) -> bool:
        """True: nudge it, the acknowledgement is overdue."""
        if now < self.due(ack_timeout_s):
            return False
        self._nudged = True
        return True

    def _resume(self) -> bool:
        self.paused = False
        self._caught_up = False
        return True
