"""Sends as columns, and what logic answers about them: one list a field, since a message that is an object costs more.

Guarantees: pure; an answer has an outcome for each row, in their order. One that has not is found out by whoever counts
(lanes/dividing.py).

Does not know: who owns which conversation, how logic is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Final, NamedTuple, Protocol

from protos.tidings.internal.v1 import common_pb2, logic_pb2
from services.common.rpc.faults import from_fault
from tidings_protocol.errors import TidingsError

# What a row takes beside its content: the longest names, and room for numbers.
_ROW_BYTES: Final = 512


class SendRow(Protocol):
    """A send to ask about; `slot` is that of its conversation."""

    @property
    def sender(self) -> str: ...

    @property
    def session(self) -> str: ...

    @property
    def conversation(self) -> str: ...

    @property
    def slot(self) -> int: ...

    @property
    def client_id(self) -> str: ...

    @property
    def content(self) -> bytes: ...

    @property
    def reply_to(self) -> int: ...

    @property
    def accepted_ms(self) -> int: ...

    @property
    def trace(self) -> str: ...

    @property
    def special(self) -> common_pb2.Special | None: ...


class StoredSend(NamedTuple):
    """A send that is stored; `number` is the sender's own inbox number, 0 if it takes none. `state`: of a change, the
    encoded tidings.v1.State of what was changed, after it; its `seq` is 0 if it took no place of its own.
    """

    seq: int
    time_ms: int
    number: int
    duplicate: bool = False
    state: bytes = b""


# What became of a send; None: logic has not decided yet, and is to be asked again.
Outcome = StoredSend | TidingsError | None


def size_of(row: SendRow) -> int:
    """About how many bytes a row takes in a call, rather too many."""
    special = row.special
    return len(row.content) + _ROW_BYTES + (special.ByteSize() if special is not None else 0)


def columns_of(rows: Sequence[SendRow]) -> logic_pb2.SendColumns:
    """The rows as Logic.SendRows takes them."""
    reply_tos = [row.reply_to for row in rows]
    traces = [row.trace for row in rows]
    specials = [row.special for row in rows]
    return logic_pb2.SendColumns(
        senders=[row.sender for row in rows],
        sessions=[row.session for row in rows],
        conversations=[row.conversation for row in rows],
        client_ids=[row.client_id for row in rows],
        contents=[row.content for row in rows],
        reply_tos=reply_tos if any(reply_tos) else (),
        accepted_ms=[row.accepted_ms for row in rows],
        traces=traces if any(traces) else (),
        specials=_sparse(specials) if any(specials) else (),
    )


def _sparse(specials: Sequence[common_pb2.Special | None]) -> Iterator[logic_pb2.SendColumns.SpecialRow]:
    """Those that there are, by their places."""
    for place, special in enumerate(specials):
        if special is not None:
            yield logic_pb2.SendColumns.SpecialRow(place=place, special=special)


def outcomes_of(answer: logic_pb2.SentColumns) -> list[Outcome]:
    """What logic says of each row."""
    outcomes: list[Outcome] = list(map(StoredSend, answer.seqs, answer.times_ms, answer.numbers or repeat(0)))
    for unusual in answer.unusual:
        outcomes[unusual.place] = outcome_of(unusual.outcome)
    return outcomes


def outcome_of(outcome: logic_pb2.SendOutcome) -> Outcome:
    """What logic says of one send."""
    if outcome.pending:
        return None
    if outcome.HasField("fault"):
        return from_fault(outcome.fault)
    return StoredSend(outcome.seq, outcome.time_ms, outcome.number, outcome.duplicate, outcome.state)
