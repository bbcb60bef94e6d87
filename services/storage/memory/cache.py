"""What an owner keeps in memory: by key, bounded, the one used longest ago goes first.

What bounds it is not how many entries there are but what they weigh together, since a group of 200 members takes forty
times the memory of a direct chat. An entry is weighed when it is put and whenever it is used: it grows meanwhile.

Guarantees: no I/O; never more than `capacity` in weight, but for the entry used last, and for those that may not go
(`is_dirty`), which the caller writes behind. Dropping slots costs one pass over the keys.
Does not know: what the entries are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Generic, TypeVar

from tidings_protocol.ids import slot_of

S = TypeVar("S")

# How many of the oldest are looked at for one that may go.
_LOOK = 16


class Cache(Generic[S]):
    def __init__(
        self, capacity: int, weigh: Callable[[S], int], is_dirty: Callable[[S], bool] = lambda _: False
    ) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._is_dirty = is_dirty
        self._entries: OrderedDict[str, S] = OrderedDict()
        self._weights: dict[str, int] = {}
        self._weight = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[S]:
        return iter(self._entries.values())

    @property
    def weight(self) -> int:
        """The weight of all entries together, as it was when each was used last."""
        return self._weight

    @property
    def is_over(self) -> bool:
        """Whether it is so much over its capacity that what is dirty must be written before more comes in."""
        return self._weight > self._capacity + self._capacity // 4

    def get(self, key: str) -> S | None:
        """The entry, which is now the one used last."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            weight = self._weigh(entry)
            if weight != self._weights[key]:
                self._weight += weight - self._weights[key]
                self._weights[key] = weight
        return entry

    def peek(self, key: str) -> S | None:
        """The entry, which does not count as used by that."""
        return self._entries.get(key)

    def put(self, key: str, entry: S) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        weight = self._weigh(entry)
        self._weight += weight - self._weights.get(key, 0)
        self._weights[key] = weight
        self.shrink()

    def shrink(self) -> None:
        """Forgets the oldest that may go, down to the capacity; never the one used last."""
        while self._weight > self._capacity and len(self._entries) > 1:
            oldest = islice(self._entries.items(), min(_LOOK, len(self._entries) - 1))
            gone = next((key for key, entry in oldest if not self._is_dirty(entry)), None)
            if gone is None:
                return
            self.drop(gone)

    def drop(self, key: str) -> None:
        if self._entries.pop(key, None) is not None:
            self._weight -= self._weights.pop(key)

    def drop_slots(self, slots: Collection[int]) -> int:
        """Forgets all entries whose key is in one of these slots; how many there were."""
        gone = [key for key in self._entries if slot_of(key) in slots]
        for key in gone:
            self.drop(key)
        return len(gone)
