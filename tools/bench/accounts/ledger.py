"""What became of every message from one user to another. Pure.

Guarantees: a message that was acknowledged and never arrived is counted as lost, whatever else. Repetitions are
told apart: pushed twice (allowed, the client drops it by its seq) or stored twice (never allowed); likewise a push that
came out of order (allowed) and messages that were stored in another order than they were sent (never allowed, but for
those that were refused or lost their connection, and were sent again after later ones).

Arrays, not dicts: 0.2 µs and 16 bytes a message.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from itertools import pairwise

_ROOM = array("q", bytes(8 * 256))


@dataclass(slots=True)
class Ledger:
    """One direction of one chat. Messages are numbered by the sender from 0; seqs begin at 1."""

    acknowledged: int = 0
    arrived: int = 0
    highest_seq: int = 0
    duplicates_seen: int = 0
    reordered_seen: int = 0
    _seqs: array[int] = field(default_factory=lambda: array("q"))  # by number; 0: not acknowledged
    _numbers: array[int] = field(default_factory=lambda: array("q"))  # by seq, one more; 0: not arrived
    sent_again: set[int] = field(default_factory=set)

    def acknowledge(self, number: int, seq: int) -> bool:
        """Whether this is the first answer to it."""
        seqs = self._seqs
        while number >= len(seqs):
            seqs.extend(_ROOM)
        if seqs[number]:
            return False
        seqs[number] = seq
        self.acknowledged += 1
        return True

    def arrive(self, number: int, seq: int) -> bool:
        """Whether it is new."""
        numbers = self._numbers
        while seq >= len(numbers):
            numbers.extend(_ROOM)
        if numbers[seq]:
            self.duplicates_seen += 1
            return False
        if seq < self.highest_seq:
            self.reordered_seen += 1
        else:
            self.highest_seq = seq
        numbers[seq] = number + 1
        self.arrived += 1
        return True

    def send_again(self, number: int) -> None:
        """It may stand behind later ones now."""
        self.sent_again.add(number)

    def unanswered(self, sent: int) -> list[int]:
        """Those of the first `sent` that have no acknowledgement."""
        seqs = self._seqs
        return [number for number in range(sent) if number >= len(seqs) or not seqs[number]]

    @property
    def missing(self) -> int:
        """Acknowledged, and not arrived (yet)."""
        arrived = set(self._numbers)
        return sum(seq != 0 and number + 1 not in arrived for number, seq in enumerate(self._seqs))

    @property
    def complete(self) -> bool:
        """Whether it looks as if nothing were missing; cheap, for who waits."""
        return self.arrived >= self.acknowledged

    @property
    def doubled(self) -> int:
        """Stored more than once."""
        return self.arrived - len(set(self._numbers) - {0})

    @property
    def misordered(self) -> int:
        """Neighbours that the conversation has in another order than they were sent."""
        again = self.sent_again
        in_order = [kept - 1 for kept in self._numbers if kept and kept - 1 not in again]
        return sum(later < earlier for earlier, later in pairwise(in_order))

    @property
    def disagreeing(self) -> int:
        """Arrived under another seq than the acknowledgement said."""
        numbers = self._numbers
        return sum(
            seq != 0 and seq < len(numbers) and numbers[seq] not in (0, number + 1)
            for number, seq in enumerate(self._seqs)
        )


@dataclass(slots=True)
class Tally:
    """Sums of ledgers, over users and processes."""

    sent: int = 0
    acknowledged: int = 0
    arrived: int = 0
    lost: int = 0
    repaired_by_sync: int = 0
    unanswered: int = 0
    duplicates_seen: int = 0
    duplicates_after_dedupe: int = 0
    reordered_seen: int = 0
    reordered_after_sort: int = 0
    disagreeing: int = 0
    reconnects: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def add(self, ledger: Ledger) -> None:
        self.acknowledged += ledger.acknowledged
        self.arrived += ledger.arrived
        self.lost += ledger.missing
        self.duplicates_seen += ledger.duplicates_seen
        self.duplicates_after_dedupe += ledger.doubled
        self.reordered_seen += ledger.reordered_seen
        self.reordered_after_sort += ledger.misordered
        self.disagreeing += ledger.disagreeing

    def merge(self, other: Tally) -> None:
        for name in self.__slots__:
            if name == "errors":
                for code, count in other.errors.items():
                    self.errors[code] = self.errors.get(code, 0) + count
            else:
                setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def right(self) -> bool:
        """Whether every promise was kept."""
        broken = self.lost or self.duplicates_after_dedupe or self.reordered_after_sort or self.disagreeing
        return not (broken or self.unanswered)
