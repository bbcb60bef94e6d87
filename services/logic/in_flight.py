"""The limit of what is under way: a batch that does not fit is refused at once, with the time to come back.

Guarantees: never more than `capacity` items are under way, except that a batch larger than that gets in when there is
nothing else. What is refused was not begun.

Does not know: what the items are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tidings_protocol.errors import Overloaded

RETRY_MS = 200


class InFlightLimit:
    """Counts items; not for several threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """How many items are in."""
        return self._under_way

    @contextmanager
    def admit(self, count: int) -> Iterator[None]:
        """Counts so many items in while it is entered; raises Overloaded if there is no room for them."""
        if self._under_way and self._under_way + count > self._capacity:
            raise Overloaded("this node has too much to do: try again", RETRY_MS)
        self._under_way += count
        try:
            yield
        finally:
            self._under_way -= count
