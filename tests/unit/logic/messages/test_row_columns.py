"""The columns of a call, and its answer."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.common.rpc.faults import to_fault
from services.logic.messages.row_columns import SendRows, SentRows
from services.logic.messages.row_plan import RowPlan
from services.logic.storage_rows import StoredRows
from tests.unit.logic.harness import columns_of, message, outcomes_of
from tidings_protocol.errors import Forbidden

ITEMS = [
    message("amy", "d:amy|bob", "1", session="a", accepted_ms=5),
    message("bob", "d:amy|bob", "2", session="b", reply_to=1, trace="tp"),
    message("amy", "g:x", "3", session="a"),
]


def test_rows_are_the_items_that_they_stand_for() -> None:
    rows = SendRows.of(columns_of(ITEMS))
    assert list(rows.items(range(3))) == ITEMS
    assert list(rows.items([2])) == ITEMS[2:]
    assert list(rows.at([0, 2]).items(range(2))) == [ITEMS[0], ITEMS[2]]
    assert rows.at([0, 1, 2]) is rows


def test_what_no_row_has_is_no_column() -> None:
    rows = SendRows.of(columns_of(ITEMS[:1]))
    assert (rows.reply_tos, rows.traces) == ((), [])
    assert list(rows.items([0])) == ITEMS[:1]


@pytest.mark.parametrize("name", ["sessions", "conversations", "client_ids", "contents", "traces"])
def test_columns_of_another_length_are_no_rows(name: str) -> None:
    columns = columns_of(ITEMS)
    getattr(columns, name).append(b"" if name == "contents" else "one more")
    with pytest.raises(ValueError, match="not aligned"):
        SendRows.of(columns)


def test_an_answer_has_each_row_at_its_place() -> None:
    sent = SentRows(4)
    plan = RowPlan(plain=[0, 2], owns=[1, 2], recipient_counts=[2, 1], recipients=["amy", "bob", "bob"])
    sent.put_stored(plan, StoredRows([7, 8], [70, 80], [1, 2, 3]))
    duplicate = logic_pb2.SendOutcome(seq=3, time_ms=30, duplicate=True)
    refused = logic_pb2.SendOutcome(fault=to_fault(Forbidden("no")))
    sent.put(3, refused)
    sent.put(1, duplicate)
    assert outcomes_of(sent.encoded()) == [
        logic_pb2.SendOutcome(seq=7, time_ms=70, number=2),
        duplicate,
        logic_pb2.SendOutcome(seq=8, time_ms=80, number=3),
        refused,
    ]
    assert [each.place for each in sent.encoded().unusual] == [1, 3]


def test_a_row_that_went_the_general_way_after_all_takes_the_place_of_what_was_put_before() -> None:
    sent = SentRows(1)
    plan = RowPlan(plain=[0], owns=[0], recipient_counts=[1], recipients=["amy"])
    sent.put_stored(plan, StoredRows([0], [0], [0]))
    sent.put(0, logic_pb2.SendOutcome(seq=3, time_ms=30, number=9))
    assert outcomes_of(sent.encoded()) == [logic_pb2.SendOutcome(seq=3, time_ms=30, number=9)]
