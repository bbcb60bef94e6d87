"""What waits in one lane: in the order in which it came, or by turns of those whose it is.

    ann × 9, bob, cid ──▶ a batch of eight is four of ann, bob, cid and two more of ann; the rest waits as it was

Guarantees: items of one party leave in the order in which they came. While all that waits fits into one batch nobody
is counted against another. Beyond that a party may have an even share of the room: that of one more party than wait, so
that there is room for whoever comes next, and not less than `SHARE_MIN` while there is room. A batch has as many of
each party as of the others, but for one turn of `TURN` items, as long as they have some: whoever asks for little waits
no longer for those who ask for much. So a party below its share is also taken where others have filled the room, since
it became smaller, up to the capacity.

Cost: nothing without parties. Taking by turns costs 0.4 µs for each item that waits, once a batch (measured), and only
where more waits than a batch takes, and of more than one party.

Does not know: time, batches under way, who is told.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable
from itertools import islice
from typing import Generic, TypeVar

from tidings_protocol.errors import TidingsError

T = TypeVar("T")
R = TypeVar("R")

# Who is told an outcome.
Done = Callable[[R | TidingsError], None]
# The item, who is told its outcome (None: nobody), when it was offered.
Offered = tuple[T, Done[R] | None, float]

# So many items of one party are never too many, so that a few things that were done at once go together.
SHARE_MIN = 8
# Items of one party that have their turn together: what a connection is answered and pushed goes out in one write then.
# Taken one by one, 200 senders with four sends in flight each cost a third more than in the order in which they came.
TURN = 4


class LaneQueue(Generic[T, R]):
    """Its fields are the lanes': `room`: how many may wait now; `paced`: how many by the pace of the last batch alone;
    `busy`: a batch is under way; `promised`: the last turn that was given to one refused; `parties`: how many items of
    each wait."""

    __slots__ = (
        "_batch_max",
        "_capacity",
        "_party",
        "busy",
        "item_s",
        "paced",
        "parties",
        "promised",
        "room",
        "waiting",
    )

    def __init__(self, capacity: int, batch_max: int, party: Callable[[T], Hashable] | None = None) -> None:
        self.waiting: deque[Offered[T, R]] = deque()
        self.parties: dict[Hashable, int] = {}
        self.busy = False
        self.item_s = 0.0
        self.promised = -math.inf
        self.room = self.paced = capacity
        self._capacity = capacity
        self._batch_max = batch_max
        self._party = party

    def count_in(self, party: Hashable) -> bool:
        """One more of the party is to wait; False: it has its share, or the lane is full to the brim."""
        waiting, parties = len(self.waiting), self.parties
        mine = parties.get(party, 0)
        if waiting >= self._batch_max or waiting >= self.room:
            share = self.room // (len(parties) + (1 if mine else 2))
            if waiting < self.room and share < SHARE_MIN:
                share = SHARE_MIN
            if mine >= share or waiting >= self._capacity:
                return False
        parties[party] = mine + 1
        return True

    def take(self, count: int) -> list[Offered[T, R]]:
        """Takes so many of what waits, in the order in which they came."""
        waiting, parties = self.waiting, self.parties
        if count == len(waiting):
            offered = list(waiting)
            self.clear()
            return offered
        if len(parties) > 1:
            return self._take_by_turns(count)
        for name in parties:
            parties[name] -= count
        return [waiting.popleft() for _ in range(count)]

    def light(self, count: int, weigh: Callable[[T], int], weight_left: int, *, first: bool) -> tuple[int, int]:
        """How many of the next so many are light enough together, and the weight that is left.

        `first`: the first of them is the first of its batch, which is always light enough.
        """
        for index, one in enumerate(islice(self.waiting, count)):
            weight = weigh(one[0])
            if weight > weight_left and (index or not first):
                return index, 0
            weight_left -= weight
        return count, weight_left

    def clear(self) -> None:
        """Nothing waits any more."""
        self.waiting.clear()
        self.parties.clear()

    def _take_by_turns(self, count: int) -> list[Offered[T, R]]:
        """The first `TURN` of each party, then the next ones of each, and so on."""
        assert self._party is not None
        names = [self._party(one[0]) for one in self.waiting]
        turns, sizes = _turns_of(names)
        last = 0  # the turn of which only some are taken
        while count >= sizes[last]:
            count -= sizes[last]
            last += 1
        offered: list[Offered[T, R]] = []
        left: deque[Offered[T, R]] = deque()
        parties: dict[Hashable, int] = {}
        for one, name, turn in zip(self.waiting, names, turns, strict=True):
            if turn < last or (turn == last and count):
                count -= turn == last
                offered.append(one)
            else:
                left.append(one)
                parties[name] = parties.get(name, 0) + 1
        self.waiting, self.parties = left, parties
        return offered


def _turns_of(names: list[Hashable]) -> tuple[list[int], list[int]]:
    """Which turn of its name each is in, and how many have each such turn."""
    seen: dict[Hashable, int] = {}
    turns: list[int] = []
    sizes: list[int] = []
    for name in names:
        before = seen.get(name, 0)
        seen[name] = before + 1
        turn = before // TURN
        turns.append(turn)
        if turn == len(sizes):
            sizes.append(0)
        sizes[turn] += 1
    return turns, sizes
