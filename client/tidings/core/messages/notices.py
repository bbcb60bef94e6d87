"""What the application is told besides messages, until it asks: the order of both, and the bound. Pure.

Guarantees: what came first is given first; but while a message waits, at most `AHEAD_MAX` notices in a row go before
it, so that receipts that come faster than the application reads do not keep it from the messages. At most
`NOTICES_MAX` wait; then the oldest are let go. What a stream grew by while nobody asked is one notice, as long as not
many others came in between.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice

from tidings.model import Notice, StreamGrew

NOTICES_MAX = 1000
AHEAD_MAX = 10
LOOK_BACK = 8


class Notices:
    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Notice]] = deque(maxlen=NOTICES_MAX)
        self._taken = 0
        self._ahead = 0

    def came(self, notice: Notice, waiting: int) -> None:
        """A notice, when so many messages waited."""
        if isinstance(notice, StreamGrew):
            notice = self._grown(notice)
        self._waiting.append((self._taken + waiting, notice))

    def _grown(self, notice: StreamGrew) -> StreamGrew:
        """All that the stream grew by; what waited of that leaves its place."""
        for place, (_, other) in enumerate(islice(reversed(self._waiting), LOOK_BACK), 1):
            if isinstance(other, StreamGrew) and _place(other) == _place(notice):
                del self._waiting[-place]
                text = other.text + notice.text if other.text and notice.text else ""
                return replace(notice, text=text)
        return notice

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


def _place(notice: StreamGrew) -> tuple[str, int]:
    return notice.conversation, notice.seq
