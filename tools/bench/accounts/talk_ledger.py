"""What became of every message of a crowd, in which many pairs write each other a few messages. Pure.

All messages of a process have numbers from 0 on. Six arrays hold what is known of each: a ledger for each pair, as the
other loads have it (ledger.py), would take 4 KB for every pair of a hundred thousand.

Guarantees: those of ledger.py. A message is also wrong if it came to somebody whom it was not for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from tools.bench.accounts.ledger import Tally


@dataclass(slots=True)
class TalkLedger:
    """Messages by number. Seqs begin at 1; 0: not acknowledged, or not arrived."""

    due: array[float] = field(default_factory=lambda: array("d"))
    senders: array[int] = field(default_factory=lambda: array("l"))
    receivers: array[int] = field(default_factory=lambda: array("l"))
    acknowledged: int = 0
    arrived: int = 0
    duplicates_seen: int = 0
    strayed: int = 0  # came to somebody else
    doubled: int = 0  # stored more than once
    reordered_seen: int = 0
    _told: array[int] = field(default_factory=lambda: array("q"))  # the seq of the acknowledgement
    _seqs: array[int] = field(default_factory=lambda: array("q"))  # the seq of the arrival
    _again: set[int] = field(default_factory=set)
    _newest: dict[tuple[int, int], int] = field(default_factory=dict)  # the highest seq that arrived, by pair

    def __len__(self) -> int:
        return len(self.due)

    def send(self, sender: int, receiver: int, due: float) -> int:
        """A new message: its number."""
        self.due.append(due)
        self.senders.append(sender)
        self.receivers.append(receiver)
        self._told.append(0)
        self._seqs.append(0)
        return len(self.due) - 1

    def send_again(self, number: int) -> None:
        """It may stand behind later ones now."""
        self._again.add(number)

    def acknowledge(self, number: int, seq: int) -> bool:
        """Whether this is the first answer to it."""
        if self._told[number]:
            return False
        self._told[number] = seq
        self.acknowledged += 1
        return True

    def arrive(self, number: int, receiver: int, seq: int) -> bool:
        """Whether it is new to whom it is for."""
        if not 0 <= number < len(self.due) or self.receivers[number] != receiver:
            self.strayed += 1
            return False
        if known := self._seqs[number]:
            self.duplicates_seen += known == seq
            self.doubled += known != seq
            return False
        self._seqs[number] = seq
        self.arrived += 1
        pair = self.senders[number], receiver
        self.reordered_seen += seq < self._newest.get(pair, 0)
        self._newest[pair] = max(seq, self._newest.get(pair, 0))
        return True

    def unanswered(self, sender: int | None = None) -> list[int]:
        """The numbers without an acknowledgement: all of them, or those of one sender."""
        numbers = (number for number, seq in enumerate(self._told) if not seq)
        return [number for number in numbers if sender is None or self.senders[number] == sender]

    def missing(self) -> list[int]:
        """The numbers that were acknowledged and have not arrived (yet)."""
        return [number for number, seq in enumerate(self._told) if seq and not self._seqs[number]]

    @property
    def complete(self) -> bool:
        """Whether it looks as if nothing were missing; cheap, for who waits."""
        return self.arrived >= self.acknowledged

    def add_to(self, tally: Tally) -> None:
        """Adds what became of all of them."""
        tally.sent += len(self)
        tally.acknowledged += self.acknowledged
        tally.arrived += self.arrived
        tally.unanswered += len(self) - self.acknowledged
        tally.lost += len(self.missing())
        tally.duplicates_seen += self.duplicates_seen
        tally.duplicates_after_dedupe += self.doubled
        tally.reordered_seen += self.reordered_seen
        tally.reordered_after_sort += sum(self._misordered())
        tally.disagreeing += self.strayed
        tally.disagreeing += sum(told and seq and told != seq for told, seq in zip(self._told, self._seqs, strict=True))

    def _misordered(self) -> Iterator[bool]:
        """For each message that arrived: whether one of the same pair that was sent earlier stands behind it."""
        last: dict[tuple[int, int], int] = {}
        for number, seq in enumerate(self._seqs):
            if seq and number not in self._again:
                pair = self.senders[number], self.receivers[number]
                yield seq < last.get(pair, 0)
                last[pair] = seq
