"""What the application is told besides messages, until it asks: the order of both, and the bound. Pure.

Guarantees: what came first is given first; but while a message waits, at most `AHEAD_MAX` notices in a row go before
it, so that receipts that come faster than the application reads do not keep it from the messages. At most
`NOTICES_MAX` wait; then the oldest are let go.
"""

from __future__ import annotations

from collections import deque

from tidings.model import Notice

NOTICES_MAX = 1000
AHEAD_MAX = 10


class Notices:
    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Notice]] = deque(maxlen=NOTICES_MAX)
        self._taken = 0
        self._ahead = 0

    def came(self, notice: Notice, waiting: int) -> None:
        """A notice, when so many messages waited."""
        self._waiting.append((self._taken + waiting, notice))

    def message_taken(self) -> None:
        self._taken += 1
        self._ahead = 0

    def take(self, waiting: int) -> Notice | None:
        """The next notice; None: there is none, or a message (of those that wait) comes before it."""
        if not self._waiting:
            return None
        if waiting and (self._waiting[0][0] > self._taken or self._ahead >= AHEAD_MAX):
            return None
        self._ahead = self._ahead + 1 if waiting else 0
        return self._waiting.popleft()[1]
