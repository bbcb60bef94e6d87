"""The columns of a call: the messages that an access node sends, and what it is answered.

Guarantees: the lists are aligned; what is put for a row stands at its place. Pure.

Does not know: what becomes of a row (rows.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from protos.tidings.internal.v1 import common_pb2, logic_pb2
from services.logic.messages.row_plan import RowPlan
from services.logic.storage_rows import StoredRows, picked

SendOutcome = logic_pb2.SendOutcome
Specials = Mapping[int, common_pb2.Special]
_NO_SPECIALS: Final[Specials] = MappingProxyType({})


class SendRows(NamedTuple):
    """Messages as lists that are aligned; `reply_tos` and `traces` are empty if there is nothing to say of any row.

    `specials`, by place: what is not plain about a row, which may be a change of a message.
    """

    senders: Sequence[str]
    sessions: Sequence[str]
    conversations: Sequence[str]
    client_ids: Sequence[str]
    contents: Sequence[bytes]
    reply_tos: Sequence[int]
    accepted_ms: Sequence[int]
    traces: Sequence[str]
    specials: Specials = _NO_SPECIALS

    @classmethod
    def of(cls, columns: logic_pb2.SendColumns) -> SendRows:
        """The columns as an access node sends them. Raises ValueError if they are not aligned."""
        senders = list(columns.senders)
        count = len(senders)
        rows = cls(
            senders,
            list(columns.sessions) or [""] * count,
            list(columns.conversations),
            list(columns.client_ids),
            list(columns.contents),
            list(columns.reply_tos) if any(columns.reply_tos) else (),
            list(columns.accepted_ms) or [0] * count,
            list(columns.traces),
            {row.place: row.special for row in columns.specials} if columns.specials else _NO_SPECIALS,
        )
        sizes = {len(column) for column in rows[:5]} | {len(rows.accepted_ms)}
        if sizes | {len(rows.reply_tos) or count, len(rows.traces) or count} != {count}:
            raise ValueError(f"the columns of {count} messages are not aligned: give a value for each, or none")
        return rows

    def at(self, places: Sequence[int]) -> SendRows:
        """The rows at these places, which ascend; none of them is special."""
        if len(places) == len(self.senders) and not self.specials:
            return self
        return SendRows(
            picked(self.senders, places),
            picked(self.sessions, places),
            picked(self.conversations, places),
            picked(self.client_ids, places),
            picked(self.contents, places),
            picked(self.reply_tos, places),
            picked(self.accepted_ms, places),
            picked(self.traces, places),
        )

    def items(self, places: Iterable[int]) -> Iterable[logic_pb2.SendItem]:
        """The rows at these places as the general way takes them."""
        for place in places:
            yield logic_pb2.SendItem(
                sender=self.senders[place],
                session=self.sessions[place],
                conversation=self.conversations[place],
                client_id=self.client_ids[place],
                content=self.contents[place],
                reply_to=self.reply_tos[place] if self.reply_tos else 0,
                trace=self.traces[place] if self.traces else "",
                accepted_ms=self.accepted_ms[place],
                special=self.specials.get(place),
            )


class SentRows:
    """The answer, as it comes together. Each row is put once, or again with what the general way made of it.

    `replies`: the places of replies to what is not there.
    """

    __slots__ = ("_numbers", "_seqs", "_times_ms", "_unusual", "replies")

    def __init__(self, count: int) -> None:
        self.replies: list[int] = []
        self._seqs = [0] * count
        self._times_ms = [0] * count
        self._numbers = [0] * count
        self._unusual: dict[int, SendOutcome] = {}

    def put_stored(self, plan: RowPlan, stored: StoredRows) -> None:
        """Puts plain rows; what is unusual among them has zeros."""
        numbers = [stored.numbers[own] for own in plan.owns]
        if len(plan.plain) == len(self._seqs):
            self._seqs, self._times_ms, self._numbers = stored.seqs, stored.times_ms, numbers
            return
        for place, seq, time_ms, number in zip(plan.plain, stored.seqs, stored.times_ms, numbers, strict=True):
            self._seqs[place], self._times_ms[place], self._numbers[place] = seq, time_ms, number

    def put(self, place: int, outcome: SendOutcome) -> None:
        """Puts what the general way says of a row."""
        if outcome.HasField("fault") or outcome.duplicate or outcome.pending or outcome.state:
            self._unusual[place] = outcome
        else:
            self._seqs[place], self._times_ms[place] = outcome.seq, outcome.time_ms
            self._numbers[place] = outcome.number

    def encoded(self) -> logic_pb2.SentColumns:
        unusual = [
            logic_pb2.SentColumns.Unusual(place=place, outcome=self._unusual[place]) for place in sorted(self._unusual)
        ]
        return logic_pb2.SentColumns(seqs=self._seqs, times_ms=self._times_ms, numbers=self._numbers, unusual=unusual)
