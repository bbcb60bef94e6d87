"""Messages as columns, and what becomes of each row."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.messages.store_call import StoreCall
from tests.unit.storage.nodes import columns_of, outcomes_of, post, send
from tidings_protocol.errors import Internal, Unavailable

ITEMS = [
    send("ann", "bob", "a", reply_to=3),
    post("g:1", "ann", "b", 7, ["ann", "bob", "cid"]),
    post("g:2", "ann", "c", 9),
]


def test_a_row_is_the_item_that_it_was() -> None:
    call = StoreCall(columns_of(ITEMS))
    assert [call.item(place) for place in range(len(call))] == ITEMS
    assert call.recipients_of(1) == ["ann", "bob", "cid"]


def test_columns_that_say_nothing_may_be_left_out() -> None:
    columns = columns_of([send("ann", "bob", "a")])
    for name in ("kinds", "versions", "reply_tos", "traces"):
        columns.ClearField(name)
    assert StoreCall(columns).item(0) == send("ann", "bob", "a")


@pytest.mark.parametrize("name", ["senders", "client_ids", "contents", "versions", "recipient_counts", "recipients"])
def test_columns_that_are_not_aligned_are_refused(name: str) -> None:
    columns = columns_of(ITEMS)
    getattr(columns, name).pop()
    with pytest.raises(Internal, match="column"):
        StoreCall(columns)


def test_what_is_simply_stored_stands_in_the_columns_and_the_rest_beside_them() -> None:
    call = StoreCall(columns_of(ITEMS))
    plain = pb.StoreOutcome(seq=4, time_ms=40, numbers=[1, 2, 3], read_over=True)
    duplicate = pb.StoreOutcome(status=pb.StoreOutcome.DUPLICATE, seq=2, time_ms=20, content=b"first")
    call.accept(1, plain)
    call.accept(2, duplicate)
    call.accept(0, Unavailable("away"))
    told = call.answer()
    assert [each.place for each in told.unusual] == [0, 2]
    assert list(told.seqs) == [0, 4, 0]
    assert list(told.numbers) == [0, 0, 1, 2, 3]
    outcomes = outcomes_of(ITEMS, told)
    assert outcomes[1:] == [plain, duplicate]
    assert (outcomes[0].status, outcomes[0].fault.code) == (pb.StoreOutcome.FAILED, "UNAVAILABLE")


def test_a_row_that_fails_later_says_nothing_of_its_numbers() -> None:
    call = StoreCall(columns_of(ITEMS))
    call.accept(1, pb.StoreOutcome(seq=4, time_ms=40, numbers=[1, 2, 3]))
    call.fail(1, Unavailable("the entries are not known to be there"))
    told = call.answer()
    assert (list(told.seqs), list(told.numbers)) == ([0, 0, 0], [0] * 5)


def test_a_row_that_is_handled_again_has_its_last_outcome_only() -> None:
    call = StoreCall(columns_of(ITEMS))
    call.accept(0, pb.StoreOutcome(seq=4, time_ms=40, numbers=[1, 2], read_over=True))
    call.accept(0, pb.StoreOutcome(status=pb.StoreOutcome.DUPLICATE, seq=4, time_ms=40))
    call.accept(1, Unavailable("away"))
    call.accept(1, pb.StoreOutcome(seq=5, time_ms=50, numbers=[1, 2, 3], read_over=True))
    call.accept(1, pb.StoreOutcome(seq=5, time_ms=50, numbers=[1, 2, 3], read_over=True))
    told = call.answer()
    assert [(each.place, each.outcome.status) for each in told.unusual] == [(0, pb.StoreOutcome.DUPLICATE)]
    assert (list(told.seqs), list(told.read_over)) == ([0, 5, 0], [1])
