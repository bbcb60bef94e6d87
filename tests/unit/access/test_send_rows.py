"""Sends as columns: what logic is asked, and what its answer says of each row."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from protos.tidings.internal.v1 import logic_pb2
from protos.tidings.internal.v1.common_pb2 import Special
from services.access.send_rows import StoredSend, columns_of, outcomes_of, size_of
from services.common.rpc.faults import to_fault
from tidings_protocol.errors import Forbidden, Recalled

Outcome = logic_pb2.SendOutcome
Unusual = logic_pb2.SentColumns.Unusual


@dataclass(frozen=True)
class Row:
    """A send to ask about."""

    client_id: str
    reply_to: int = 0
    trace: str = ""
    content: bytes = b"hi"
    sender: str = "ann"
    session: str = "s"
    conversation: str = "d:ann|bob"
    slot: int = 7
    accepted_ms: int = 5
    special: Special | None = None


def test_each_field_is_a_list_of_all_rows() -> None:
    columns = columns_of([Row("a", 3, "t"), Row("b", content=b"ho")])
    assert list(columns.client_ids) == ["a", "b"]
    assert list(columns.contents) == [b"hi", b"ho"]
    assert (list(columns.senders), list(columns.sessions)) == (["ann", "ann"], ["s", "s"])
    assert (list(columns.conversations), list(columns.accepted_ms)) == (["d:ann|bob"] * 2, [5, 5])
    assert (list(columns.reply_tos), list(columns.traces)) == ([3, 0], ["t", ""])


def test_a_list_that_has_nothing_to_say_of_any_row_is_empty() -> None:
    columns = columns_of([Row("a"), Row("b")])
    assert (list(columns.reply_tos), list(columns.traces), list(columns.specials)) == ([], [], [])


def test_what_is_special_stands_beside_the_columns_by_its_place() -> None:
    special = Special(mentions=["bob"])
    [row] = columns_of([Row("a"), Row("b", special=special), Row("c")]).specials
    assert (row.place, row.special) == (1, special)


def test_rows_are_told_by_the_columns_but_for_the_unusual_ones() -> None:
    answer = logic_pb2.SentColumns(
        seqs=[1, 0, 0, 0, 5],
        times_ms=[10, 0, 0, 0, 50],
        numbers=[11, 0, 0, 0, 55],
        unusual=[
            Unusual(place=1, outcome=Outcome(seq=2, time_ms=20, number=22, duplicate=True)),
            Unusual(place=2, outcome=Outcome(pending=True)),
            Unusual(place=3, outcome=Outcome(fault=to_fault(Forbidden("no")))),
        ],
    )
    plain, repeat, undecided, refused, last = outcomes_of(answer)
    assert (plain, last) == (StoredSend(1, 10, 11), StoredSend(5, 50, 55))
    assert repeat == StoredSend(2, 20, 22, duplicate=True)
    assert undecided is None
    assert isinstance(refused, Forbidden)


def test_a_change_is_told_with_the_state_of_what_it_changed() -> None:
    answer = logic_pb2.SentColumns(
        seqs=[0], times_ms=[0], numbers=[0], unusual=[Unusual(place=0, outcome=Outcome(seq=2, time_ms=3, state=b"s"))]
    )
    assert outcomes_of(answer) == [StoredSend(2, 3, 0, state=b"s")]


def test_a_refusal_that_is_excused_stays_so() -> None:
    [refused] = outcomes_of(
        logic_pb2.SentColumns(
            seqs=[0], times_ms=[0], unusual=[Unusual(place=0, outcome=Outcome(fault=to_fault(Recalled("gone"))))]
        )
    )
    assert isinstance(refused, Forbidden)
    assert refused.excused


def test_where_nobody_takes_a_number_there_is_none() -> None:
    assert outcomes_of(logic_pb2.SentColumns(seqs=[1, 2], times_ms=[3, 4])) == [
        StoredSend(1, 3, 0),
        StoredSend(2, 4, 0),
    ]


def test_an_answer_about_a_row_that_was_not_asked_about_is_a_defect() -> None:
    with pytest.raises(IndexError):
        outcomes_of(logic_pb2.SentColumns(unusual=[Unusual(place=3)]))


def test_the_size_of_a_row_is_not_estimated_too_small() -> None:
    row = Row("c" * 64, 2**64 - 1, "t" * 55, b"x" * 1000, "u" * 64, "s" * 24, f"d:{'a' * 64}|{'b' * 64}", 4095, 2**62)
    assert columns_of([row]).ByteSize() <= size_of(row)
    special = replace(row, special=Special(change=bytes(5000), mentions=["u" * 64] * 50))
    assert columns_of([special]).ByteSize() <= size_of(special)
