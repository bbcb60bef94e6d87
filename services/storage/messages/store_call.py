"""A call that stores messages, as columns: one list a field, and what becomes of each row beside it.

Guarantees: the lists are aligned, and so are the outcomes with the rows; `numbers` with the recipients of all rows. A
row is answered in the columns if it is simply stored, and with an outcome of its own if it is not.
Does not know: how rows are stored (plain_turn.py, write_round.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

from protos.tidings.internal.v1 import storage_pb2
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
        self.numbers = [0] * len(self.recipients)
        self.read_over: list[int] = []
        self.unusual: dict[int, StoreOutcome] = {}

    def __len__(self) -> int:
        return len(self.conversations)

    def recipients_of(self, place: int) -> list[str]:
        return self.recipients[self.starts[place] : self.starts[place + 1]]

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
        """Takes what became of a row on the general way."""
        if isinstance(outcome, TidingsError):
            self.fail(place, outcome)
        elif outcome.status != StoreOutcome.STORED:
            self._clear(place)
            self.unusual[place] = outcome
        else:
            self.seqs[place], self.times_ms[place] = outcome.seq, outcome.time_ms
            self.numbers[self.starts[place] : self.starts[place + 1]] = outcome.numbers
            if outcome.read_over:
                self.read_over.append(place)

    def fail(self, place: int, error: TidingsError) -> None:
        """The row has this error as its outcome, whatever it was told before."""
        self._clear(place)
        self.unusual[place] = StoreOutcome(status=StoreOutcome.FAILED, fault=to_fault(error))

    def _clear(self, place: int) -> None:
        self.seqs[place] = self.times_ms[place] = 0
        for at in range(self.starts[place], self.starts[place + 1]):
            self.numbers[at] = 0

    def answer(self) -> storage_pb2.StoredColumns:
        """The outcomes of all rows."""
        return storage_pb2.StoredColumns(
            seqs=self.seqs,
            times_ms=self.times_ms,
            numbers=self.numbers,
            read_over=sorted(self.read_over),
            unusual=[
                storage_pb2.StoredColumns.Unusual(place=place, outcome=self.unusual[place])
                for place in sorted(self.unusual)
            ],
        )


def _aligned(values: Sequence[V], count: int) -> list[V]:
    if len(values) != count:
        raise Internal(f"a column has {len(values)} values for {count} rows: this is a defect of the logic node")
    return list(values)
