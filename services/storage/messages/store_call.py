"""A call that stores messages, as columns: one list a field, and what becomes of each row beside it.

Guarantees: the lists are aligned, and so are the outcomes with the rows; `numbers` with the recipients of all rows. A
row is answered in the columns if it is simply stored, and with an outcome of its own if it is not.
Does not know: how rows are stored (plain_turn.py, write_round.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from protos.tidings.internal.v1 import storage_pb2
from services.common.lanes.dividing import portions
from services.common.rpc.faults import to_fault
from services.storage.repository.records import NORMAL
from tidings_protocol.errors import Internal, TidingsError

StoreOutcome = storage_pb2.StoreOutcome

V = TypeVar("V")


class StoreCall:
    """The rows of one call. `starts`: where the recipients of each row begin, and at last where they all end."""

    __slots__ = (
        "client_ids",
        "contents",
        "conversations",
        "kinds",
        "numbers",
        "ordinals",
        "read_over",
        "recipients",
        "reply_tos",
        "senders",
        "seqs",
        "starts",
        "times_ms",
        "traces",
        "unusual",
        "versions",
    )

    def __init__(self, columns: storage_pb2.StoreColumns) -> None:
        """Raises Internal if the columns are not aligned."""
        self.conversations = conversations = list(columns.conversations)
        count = len(conversations)
        self.senders = _aligned(columns.senders, count)
        self.client_ids = _aligned(columns.client_ids, count)
        self.contents = _aligned(columns.contents, count)
        self.kinds = _aligned(columns.kinds or [NORMAL] * count, count)
        self.versions = _aligned(columns.versions or [0] * count, count)
        self.reply_tos = _aligned(columns.reply_tos or [0] * count, count)
        self.traces = _aligned(columns.traces or [""] * count, count)
        self.starts = [0, *accumulate(_aligned(columns.recipient_counts, count))]
        self.recipients = _aligned(columns.recipients, self.starts[-1])
        self.seqs = [0] * count
        self.times_ms = [0] * count
        self.ordinals = [0] * count  # 0: its seq
        self.numbers = [0] * len(self.recipients)
        self.read_over: set[int] = set()
        self.unusual: dict[int, StoreOutcome] = {}

    def __len__(self) -> int:
        return len(self.conversations)

    def recipients_of(self, place: int) -> list[str]:
        return self.recipients[self.starts[place] : self.starts[place + 1]]

    def parts(self, weight_max: int, row_weight: int) -> list[Rows]:
        """The rows in runs, each of which one turn takes: no run of several is heavier than `weight_max`. A row weighs
        as much as it has recipients, and at least `row_weight`.
        """
        weight = max(len(self.recipients), len(self) * row_weight)
        if weight <= weight_max:
            return [Rows(self, range(len(self)), weight)]

        def weigh(place: int) -> int:
            return max(self.starts[place + 1] - self.starts[place], row_weight)

        runs = portions(list(range(len(self))), len(self), weight_max, surely_fit=0, size_of=weigh)
        return [Rows(self, run, sum(map(weigh, run))) for run in runs]

    def item(self, place: int) -> storage_pb2.StoreItem:
        """The row as an item of its own, which goes the general way."""
        return storage_pb2.StoreItem(
            conversation=self.conversations[place],
            sender=self.senders[place],
            client_id=self.client_ids[place],
            content=self.contents[place],
            kind=self.kinds[place],
            version=self.versions[place],
            recipients=self.recipients_of(place),
            reply_to=self.reply_tos[place],
            trace=self.traces[place],
        )

    def accept(self, place: int, outcome: StoreOutcome | TidingsError) -> None:
        """Takes what became of a row on the general way. If it is told again, the last word counts."""
        if isinstance(outcome, TidingsError):
            self.fail(place, outcome)
            return
        self._clear(place)
        if outcome.status != StoreOutcome.STORED:
            self.unusual[place] = outcome
            return
        self.seqs[place], self.times_ms[place] = outcome.seq, outcome.time_ms
        self.ordinals[place] = outcome.ordinal if outcome.ordinal != outcome.seq else 0
        self.numbers[self.starts[place] : self.starts[place + 1]] = outcome.numbers
        if outcome.read_over:
            self.read_over.add(place)

    def fail(self, place: int, error: TidingsError) -> None:
        """The row has this error as its outcome, whatever it was told before."""
        self._clear(place)
        self.unusual[place] = StoreOutcome(status=StoreOutcome.FAILED, fault=to_fault(error))

    def _clear(self, place: int) -> None:
        self.seqs[place] = self.times_ms[place] = self.ordinals[place] = 0
        for at in range(self.starts[place], self.starts[place + 1]):
            self.numbers[at] = 0
        self.read_over.discard(place)
        self.unusual.pop(place, None)

    def answer(self) -> storage_pb2.StoredColumns:
        """The outcomes of all rows."""
        return storage_pb2.StoredColumns(
            seqs=self.seqs,
            times_ms=self.times_ms,
            numbers=self.numbers,
            read_over=sorted(self.read_over),
            ordinals=self.ordinals if any(self.ordinals) else (),
            unusual=[
                storage_pb2.StoredColumns.Unusual(place=place, outcome=self.unusual[place])
                for place in sorted(self.unusual)
            ],
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a call that are next to each other, and how heavy they are in a turn."""

    call: StoreCall
    places: Sequence[int]
    weight: int


def _aligned(values: Sequence[V], count: int) -> list[V]:
    if len(values) != count:
        raise Internal(f"a column has {len(values)} values for {count} rows: this is a defect of the logic node")
    return list(values)
