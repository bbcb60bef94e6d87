"""What an owner keeps in memory: by key, bounded, the one used longest ago goes first.

Guarantees: no I/O; never more than `capacity` entries, but for those that may not go (`is_dirty`), which the caller
writes behind. Dropping costs one pass over the keys.
Does not know: what the entries are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Generic, TypeVar

from services.common.ids import slot_of

S = TypeVar("S")

# How many of the oldest are looked at for one that may go.
_LOOK = 16


class Cache(Generic[S]):
    def __init__(self, capacity: int, is_dirty: Callable[[S], bool] = lambda _: False) -> None:
        self._capacity = capacity
        self._is_dirty = is_dirty
        self._entries: OrderedDict[str, S] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[S]:
        return iter(self._entries.values())

    @property
    def is_over(self) -> bool:
        """So much over its capacity that what is dirty must be written before more comes in."""
        return len(self._entries) > self._capacity + self._capacity // 4

    def get(self, key: str) -> S | None:
        """The entry, which is now the one used last."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def peek(self, key: str) -> S | None:
        """The entry, as old as it was."""
        return self._entries.get(key)

    def put(self, key: str, entry: S) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        self.shrink()

    def shrink(self) -> None:
        """Forgets the oldest that may go, down to the capacity."""
        while len(self._entries) > self._capacity:
            oldest = islice(self._entries.items(), _LOOK)
            gone = next((key for key, entry in oldest if not self._is_dirty(entry)), None)
            if gone is None:
                return
            del self._entries[gone]

    def drop(self, key: str) -> None:
        self._entries.pop(key, None)

    def drop_slots(self, slots: Collection[int]) -> int:
        """Forgets all whose key is in one of these slots; how many there were."""
        gone = [key for key in self._entries if slot_of(key) in slots]
        for key in gone:
            del self._entries[key]
        return len(gone)
