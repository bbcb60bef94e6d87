"""What became of the messages of one group: one order that all its members see. Pure.

Guarantees: a message that a member did not get, that is stored twice, that two members have at different places, or
that stands in another order than its sender sent it, is counted.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

_NONE = -1
_ROOM = array("q", [_NONE] * 256)


@dataclass(slots=True)
class GroupLog:
    """The messages of a group by seq, from `base` + 1 on, as the first who saw each tells."""

    base: int = 0
    head: int = 0
    disagreeing: int = 0
    _marks: array[int] = field(default_factory=lambda: array("q"))

    def see(self, seq: int, mark: int) -> None:
        place = seq - self.base
        if place <= 0:
            return
        marks = self._marks
        while place >= len(marks):
            marks.extend(_ROOM)
        known = marks[place]
        if known == _NONE:
            marks[place] = mark
            self.head = max(self.head, seq)
        elif known != mark:
            self.disagreeing += 1

    def in_order(self) -> list[int]:
        """The marks that were seen."""
        return [mark for mark in self._marks if mark != _NONE]

    @property
    def doubled(self) -> int:
        """Stored more than once."""
        marks = self.in_order()
        return len(marks) - len(set(marks))

    def misordered(self, step: int, again: set[int]) -> int:
        """Later than one that the same sender (mark // step) sent after it, and not in `again` (marks)."""
        last: dict[int, int] = {}
        wrong = 0
        for mark in self.in_order():
            if mark in again:
                continue
            sender, number = divmod(mark, step)
            wrong += number < last.get(sender, _NONE)
            last[sender] = number
        return wrong


@dataclass(slots=True)
class Attendance:
    """What one member has of a group, by seq. All up to `upto` is there."""

    upto: int = 0
    got: int = 0
    repeated: int = 0
    reordered: int = 0
    highest: int = 0
    _early: set[int] = field(default_factory=set)

    def begin(self, base: int) -> None:
        self.upto = self.highest = base
        self._early.clear()

    def take(self, seq: int) -> bool:
        """Whether it is new."""
        if seq == self.upto + 1 and not self._early:
            self.upto = seq
        elif seq <= self.upto or seq in self._early:
            self.repeated += 1
            return False
        else:
            early = self._early
            early.add(seq)
            while self.upto + 1 in early:
                self.upto += 1
                early.discard(self.upto)
        if seq < self.highest:
            self.reordered += 1
        else:
            self.highest = seq
        self.got += 1
        return True

    def missing(self, head: int) -> int:
        return max(0, head - self.upto - len(self._early))
