"""What became of every message from one user to another. Pure.

Guarantees: a message that was acknowledged and never arrived is counted as lost, whatever else. Repetitions are
told apart: pushed twice (allowed, the client drops it by its seq) or stored twice (never allowed); likewise a push that
came out of order (allowed) and messages that were stored in another order than they were sent (never allowed).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(slots=True)
class Ledger:
    """One direction of one chat. Messages are numbered by the sender from 0."""

    acknowledged: dict[int, int] = field(default_factory=dict)  # number -> seq
    arrived: dict[int, int] = field(default_factory=dict)  # seq -> number
    highest_seq: int = 0
    duplicates_seen: int = 0
    reordered_seen: int = 0

    def acknowledge(self, number: int, seq: int) -> bool:
        """Whether this is the first answer to it."""
        if number in self.acknowledged:
            return False
        self.acknowledged[number] = seq
        return True

    def arrive(self, number: int, seq: int) -> bool:
        """Whether it is new."""
        if seq in self.arrived:
            self.duplicates_seen += 1
            return False
        if seq < self.highest_seq:
            self.reordered_seen += 1
        self.highest_seq = max(self.highest_seq, seq)
        self.arrived[seq] = number
        return True

    @property
    def missing(self) -> int:
        """Acknowledged, and not arrived (yet)."""
        arrived = set(self.arrived.values())
        return sum(number not in arrived for number in self.acknowledged)

    @property
    def doubled(self) -> int:
        """Stored more than once."""
        return len(self.arrived) - len(set(self.arrived.values()))

    @property
    def misordered(self) -> int:
        """Neighbours that the conversation has in another order than they were sent."""
        in_order = [number for _, number in sorted(self.arrived.items())]
        return sum(later < earlier for earlier, later in pairwise(in_order))


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
    reconnects: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def add(self, ledger: Ledger) -> None:
        self.acknowledged += len(ledger.acknowledged)
        self.arrived += len(ledger.arrived)
        self.lost += ledger.missing
        self.duplicates_seen += ledger.duplicates_seen
        self.duplicates_after_dedupe += ledger.doubled
        self.reordered_seen += ledger.reordered_seen
        self.reordered_after_sort += ledger.misordered

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
        return not (self.lost or self.duplicates_after_dedupe or self.reordered_after_sort or self.unanswered)
