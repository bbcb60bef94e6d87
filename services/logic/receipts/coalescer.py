"""Receipts are coalesced: at most one a second for each reader and conversation, the last state always.

`note` takes every change of a cursor, `due` gives what may go out now. The first change goes at once; what follows
within the interval is merged, and goes at its end.

Guarantees: pure; no state that was noted is lost, the last one noted is what goes out; memory is bounded by `capacity`:
beyond it what waits longest goes out before its time.

Does not know: who is told (sender.py), time other than `now`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReaderCursor:
    """How far a reader got in a conversation. `session`: where it was done; `version`: the group's then; 0: none."""

    user: str
    conversation: str
    delivered_seq: int
    read_seq: int
    session: str = ""
    version: int = 0
    large: bool = False


@dataclass(slots=True)
class _Slot:
    """One reader and conversation, from a receipt until the interval after it is over."""

    due_s: float
    told: ReaderCursor
    waiting: ReaderCursor | None = None


class ReceiptCoalescer:
    """Not for several threads. `interval_s` between two receipts of one reader and conversation."""

    def __init__(self, interval_s: float, capacity: int) -> None:
        self._interval_s = interval_s
        self._capacity = capacity
        # All slots live for one interval from the last receipt, so the order of insertion is the order of being due.
        self._slots: OrderedDict[tuple[str, str], _Slot] = OrderedDict()
        self._ready: dict[tuple[str, str], ReaderCursor] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._slots) + len(self._ready)

    def note(self, cursor: ReaderCursor) -> None:
        """This is the cursor's state now."""
        key = (cursor.user, cursor.conversation)
        slot = self._slots.get(key)
        if slot is None:
            self._ready[key] = _merged(self._ready.get(key), cursor)
        elif _is_further(cursor, slot.told):
            self._waiting += slot.waiting is None
            slot.waiting = _merged(slot.waiting or slot.told, cursor)

    def give_back(self, cursor: ReaderCursor) -> None:
        """This one, which `due` gave, was not told to all: it goes again, an interval later."""
        key = (cursor.user, cursor.conversation)
        slot = self._slots.get(key)
        if slot is None:
            self._ready[key] = _merged(self._ready.get(key), cursor)
            return
        self._waiting += slot.waiting is None
        slot.waiting = cursor if slot.waiting is None else _merged(cursor, slot.waiting)

    def due(self, now_s: float) -> list[ReaderCursor]:
        """What goes out now; it is this caller's from here on."""
        for key in self._over(now_s):
            waiting = self._slots.pop(key).waiting
            if waiting is not None:
                self._waiting -= 1
                self._ready[key] = waiting
        taken = list(self._ready.values())
        for key, cursor in self._ready.items():
            self._slots[key] = _Slot(now_s + self._interval_s, cursor)
        self._ready.clear()
        return taken

    def next_due_s(self, now_s: float) -> float | None:
        """When to ask `due` again (it may have nothing yet, then there is a next time); None: nothing waits."""
        if self._ready:
            return now_s
        if not self._waiting:
            return None
        return next(iter(self._slots.values())).due_s

    def flush(self) -> list[ReaderCursor]:
        """All that waits, whatever the time: the node is leaving."""
        taken = [*self._ready.values(), *(slot.waiting for slot in self._slots.values() if slot.waiting is not None)]
        self._ready.clear()
        self._slots.clear()
        self._waiting = 0
        return taken

    def _over(self, now_s: float) -> list[tuple[str, str]]:
        """The slots whose interval is over, and the oldest of those beyond the capacity."""
        too_many = len(self) - self._capacity
        over: list[tuple[str, str]] = []
        for key, slot in self._slots.items():
            if slot.due_s > now_s and len(over) >= too_many:
                break
            over.append(key)
        return over


def _is_further(cursor: ReaderCursor, told: ReaderCursor) -> bool:
    return cursor.delivered_seq > told.delivered_seq or cursor.read_seq > told.read_seq


def _merged(before: ReaderCursor | None, now: ReaderCursor) -> ReaderCursor:
    """Cursors never go back, whatever order the answers of storage came in."""
    if before is None:
        return now
    return ReaderCursor(
        now.user,
        now.conversation,
        max(before.delivered_seq, now.delivered_seq),
        max(before.read_seq, now.read_seq),
        now.session,
        max(before.version, now.version),
        now.large or before.large,
    )
