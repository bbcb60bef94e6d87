"""Names and when each is due: the earliest first. Pure.

Guarantees: a name has one time; asking what is due next costs the logarithm of how many there are, so that a device
with thousands of groups behind does not walk through all of them with every frame.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

STALE_MAX = 64


class Due:
    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, int, str]] = []  # may hold times that count no more
        self._count = 0

    def put(self, name: str, at: float) -> None:
        """Due by then; the earlier time of two counts."""
        if at < self._at.get(name, float("inf")):
            self._at[name] = at
            self._count += 1
            heappush(self._heap, (at, self._count, name))
            if len(self._heap) > 2 * len(self._at) + STALE_MAX:
                self._rebuild()

    def drop(self, name: str) -> None:
        self._at.pop(name, None)

    def clear(self) -> None:
        self._at.clear()
        self._heap.clear()

    def next(self) -> float | None:
        """When the first is due."""
        while self._heap:
            at, _, name = self._heap[0]
            if self._at.get(name) == at:
                return at
            heappop(self._heap)
        return None

    def pop(self, now: float) -> str | None:
        """The first that is due, which is then no more in here."""
        at = self.next()
        if at is None or at > now:
            return None
        name = heappop(self._heap)[2]
        del self._at[name]
        return name

    def _rebuild(self) -> None:
        self._heap = [entry for entry in self._heap if self._at.get(entry[2]) == entry[0]]
        heapify(self._heap)
