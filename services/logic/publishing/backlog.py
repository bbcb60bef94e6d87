"""What waits for Kafka while it is away, in bounded memory.

Two kinds: what must still arrive (events for other systems, presence, membership of large groups) and pushes of
messages and receipts, which are worth sending for a few seconds only: after that their recipients have synced.

Guarantees: pure; the bytes of both together stay within the limit, pushes go first when it is reached, then the oldest
of the others; each kind comes out in the order it went in.

Does not know: when Kafka is back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from services.common.bus.contract import Record


class PendingRecord(NamedTuple):
    """A record that was not published. `lasting`: it must still arrive. `to`: (node, boot id) of a mailbox's owner."""

    record: Record
    lasting: bool
    since_s: float
    to: tuple[str, str] | None = None

    @property
    def size(self) -> int:
        return len(self.record.value) + 200


class Backlog:
    """`push_age_max_s`: how old a push may get before it is not worth sending."""

    def __init__(self, bytes_max: int, push_age_max_s: float) -> None:
        self._bytes_max = bytes_max
        self._push_age_max_s = push_age_max_s
        self._pushes: deque[PendingRecord] = deque()
        self._lasting: deque[PendingRecord] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._pushes) + len(self._lasting)

    def add(self, records: Iterable[PendingRecord], now_s: float) -> list[PendingRecord]:
        """Gives those that are dropped for it."""
        for waiting in records:
            (self._lasting if waiting.lasting else self._pushes).append(waiting)
            self.size += waiting.size
        return self._shrink(now_s)

    def take(self, count: int, bytes_max: int, now_s: float) -> tuple[list[PendingRecord], list[PendingRecord]]:
        """The next to be published, pushes first, and what was dropped because it is too old."""
        dropped = self._shrink(now_s)
        taken: list[PendingRecord] = []
        size = 0
        for kind in (self._pushes, self._lasting):
            while kind and len(taken) < count and size < bytes_max:
                waiting = kind.popleft()
                size += waiting.size
                taken.append(waiting)
        self.size -= size
        return taken, dropped

    def give_back(self, records: list[PendingRecord], now_s: float) -> list[PendingRecord]:
        """They could not be published after all: they are the next again. Gives those that are dropped for it."""
        for waiting in reversed(records):
            (self._lasting if waiting.lasting else self._pushes).appendleft(waiting)
            self.size += waiting.size
        return self._shrink(now_s)

    def _shrink(self, now_s: float) -> list[PendingRecord]:
        dropped: list[PendingRecord] = []
        while self._pushes and now_s - self._pushes[0].since_s > self._push_age_max_s:
            dropped.append(self._pushes.popleft())
            self.size -= dropped[-1].size
        for kind in (self._pushes, self._lasting):
            while kind and self.size > self._bytes_max:
                dropped.append(kind.popleft())
                self.size -= dropped[-1].size
        return dropped
