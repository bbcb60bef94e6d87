"""The rules by which lanes are paced: how many may wait, when one who was refused may come again, which lanes go next.

    a batch of `count` took `took_s` ──▶ room_after: as many may wait as are answered in time at this pace
    one more than fit                ──▶ next_turn: after all that wait, and after those who were refused before
    a worker is free                 ──▶ next_batch: small lanes together while nothing is under way, large ones alone

Guarantees: pure, time is an argument. Each rule is asked once a batch or once a refusal, none for each item.

Does not know: what the items are, whose they are (queue.py), tasks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Protocol, TypeVar

# Fewer items in a lane are never refused for being late: with batches this small it is not their number that is slow.
ROOM_MIN: Final = 32
# No turn that is given is later than this from now.
TURN_MAX_S: Final = 5.0


class Waiting(Protocol):
    """A lane: what waits in it, each item with its time in the third place, and whether a batch of it is under way."""

    busy: bool

    @property
    def waiting(self) -> deque[Any]: ...


L = TypeVar("L", bound=Waiting)


def room_after(count: int, lanes: int, took_s: float, *, answer_s: float | None, capacity: int) -> int:
    """How many may wait in each of the lanes that a batch of `count` items was of.

    An item waits for the batch under way and is answered with its own, so it may take half of `answer_s` for each. The
    pace of a small batch says nothing about larger ones.
    """
    if answer_s is None or 2 * count < ROOM_MIN or not took_s:
        return capacity
    return min(capacity, max(ROOM_MIN, int(answer_s / 2 * count / took_s / lanes)))


def next_turn(now_s: float, waiting: int, item_s: float, promised_s: float) -> float:
    """When one who is refused now gets a turn: after all that wait, at the pace of the last batch (`item_s` for each
    item), and after the turn that was promised last."""
    return min(max(now_s + item_s * waiting, promised_s + item_s), now_s + TURN_MAX_S)


def is_large(lane: Waiting, overlap_min: int) -> bool:
    """Whether what waits in a lane is worth a batch beside another."""
    return len(lane.waiting) >= overlap_min


def next_batch(lanes: Iterable[L], *, under_way: int, overlap_min: int) -> list[L]:
    """The lanes whose items are the next batch, the one that waits longest first; none if nothing may begin now.

    `under_way`: how many batches are.
    """
    ready = sorted((lane for lane in lanes if lane.waiting and not lane.busy), key=_oldest)
    if not ready:
        return []
    if is_large(ready[0], overlap_min):
        others = any(is_large(lane, overlap_min) for lane in ready[1:])
        return ready[:1] if under_way or others else ready
    # A large lane does not go before a small one that waits for longer: that would not get its turn for ever.
    return [] if under_way else ready


def _oldest(lane: Waiting) -> float:
    since_s: float = lane.waiting[0][2]
    return since_s
