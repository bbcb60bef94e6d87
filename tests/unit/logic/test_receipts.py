"""Receipts: at most one in an interval, the last state always."""

from __future__ import annotations

from services.logic.receipts.coalescer import ReaderCursor, ReceiptCoalescer


def cursor(user: str = "amy", read: int = 0, delivered: int = 0, **fields: object) -> ReaderCursor:
    return ReaderCursor(user, "g:x", delivered, read, **fields)  # type: ignore[arg-type]


def test_the_first_goes_at_once() -> None:
    coalescer = ReceiptCoalescer(1.0, 100)
    coalescer.note(cursor(read=5))
    assert coalescer.next_due_s(10.0) == 10.0
    assert coalescer.due(10.0) == [cursor(read=5)]


def test_the_next_waits_for_the_end_of_the_interval_and_is_the_last_state() -> None:
    coalescer = ReceiptCoalescer(1.0, 100)
    coalescer.note(cursor(read=5))
    coalescer.due(10.0)
    coalescer.note(cursor(read=6, delivered=6))
    coalescer.note(cursor(read=7, delivered=9))
    assert coalescer.due(10.9) == []
    assert coalescer.next_due_s(10.9) == 11.0
    assert coalescer.due(11.0) == [cursor(read=7, delivered=9)]


def test_states_that_come_in_the_wrong_order_do_not_go_back() -> None:
    coalescer = ReceiptCoalescer(1.0, 100)
    coalescer.note(cursor(read=7, delivered=9))
    coalescer.note(cursor(read=6, delivered=8))
    assert coalescer.due(0.0) == [cursor(read=7, delivered=9)]


def test_two_readers_do_not_wait_for_each_other() -> None:
    coalescer = ReceiptCoalescer(1.0, 100)
    coalescer.note(cursor("amy", read=5))
    coalescer.due(10.0)
    coalescer.note(cursor("bob", read=5))
    assert coalescer.due(10.1) == [cursor("bob", read=5)]


def test_after_a_quiet_interval_the_next_goes_at_once_again() -> None:
    coalescer = ReceiptCoalescer(1.0, 100)
    coalescer.note(cursor(read=5))
    coalescer.due(10.0)
    coalescer.due(11.0)
    coalescer.note(cursor(read=6))
    assert coalescer.due(11.5) == [cursor(read=6)]


def test_nothing_is_due_when_nothing_waits() -> None:
    coalescer = ReceiptCoalescer(1.0, 100)
    assert coalescer.next_due_s(0.0) is None
    coalescer.note(cursor(read=5))
    coalescer.due(0.0)
    assert coalescer.next_due_s(0.0) is None


def test_leaving_takes_all_that_waits() -> None:
    coalescer = ReceiptCoalescer(1.0, 100)
    coalescer.note(cursor("amy", read=5))
    coalescer.due(10.0)
    coalescer.note(cursor("amy", read=6))
    coalescer.note(cursor("bob", read=2))
    assert {(each.user, each.read_seq) for each in coalescer.flush()} == {("amy", 6), ("bob", 2)}
    assert coalescer.flush() == []
    assert len(coalescer) == 0


def test_beyond_the_capacity_the_oldest_goes_out_early_and_none_is_lost() -> None:
    coalescer = ReceiptCoalescer(1.0, 10)
    told: dict[str, int] = {}
    for round_ in (1, 2):
        for number in range(100):
            coalescer.note(cursor(f"user{number}", read=round_))
            told.update({each.user: each.read_seq for each in coalescer.due(0.0)})
            assert len(coalescer) <= 11
    told.update({each.user: each.read_seq for each in coalescer.flush()})
    assert told == {f"user{number}": 2 for number in range(100)}


def test_the_last_session_and_version_count() -> None:
    coalescer = ReceiptCoalescer(1.0, 100)
    coalescer.note(cursor(read=1, session="phone", version=3))
    coalescer.note(cursor(read=2, session="desk", version=4))
    assert coalescer.due(0.0) == [cursor(read=2, session="desk", version=4)]


def test_what_could_not_be_told_goes_again_after_the_interval_with_what_came_since() -> None:
    coalescer = ReceiptCoalescer(1.0, 100)
    coalescer.note(cursor(read=5))
    (taken,) = coalescer.due(10.0)
    coalescer.give_back(taken)
    assert coalescer.due(10.9) == []
    coalescer.note(cursor(read=5))
    assert coalescer.due(11.0) == [cursor(read=5)]
    coalescer.note(cursor(read=7))
    coalescer.give_back(cursor(read=5, delivered=6))
    assert coalescer.due(12.0) == [cursor(read=7, delivered=6)]
    assert coalescer.due(13.0) == []
    coalescer.give_back(cursor(read=7))
    assert coalescer.flush() == [cursor(read=7)]
