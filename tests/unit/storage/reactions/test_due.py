"""When which message is looked at."""

from __future__ import annotations

from services.storage.reactions.due import DueTimes

FIRST, SECOND, THIRD = ("g:1", 1), ("g:1", 2), ("g:1", 3)


def test_what_is_due_is_taken_once() -> None:
    due = DueTimes()
    due.put(FIRST, 5.0)
    due.put(SECOND, 6.0)
    assert due.earliest == 5.0
    assert due.take(4.9, 10) == []
    assert due.take(5.0, 10) == [FIRST]
    assert (FIRST in due, SECOND in due) == (False, True)
    assert due.take(9.0, 10) == [SECOND]
    assert len(due) == 0


def test_of_nothing_nothing_is_due() -> None:
    assert DueTimes().earliest is None


def test_the_earlier_time_counts() -> None:
    due = DueTimes()
    for at_s in (5.0, 3.0, 9.0):
        due.put(FIRST, at_s)
    assert due.earliest == 3.0


def test_no_more_are_taken_than_asked_for() -> None:
    due = DueTimes()
    for target in (FIRST, SECOND, THIRD):
        due.put(target, 0.0)
    assert len(due.take(1.0, 2)) == 2
    assert len(due) == 1


def test_one_that_is_put_again_is_due_at_its_new_time() -> None:
    due = DueTimes()
    due.put(FIRST, 5.0)
    due.put(FIRST, 3.0)
    assert due.take(3.0, 10) == [FIRST]
    due.put(FIRST, 9.0)
    assert due.take(5.0, 10) == [], "what was put before does not count any more"
    assert due.earliest == 9.0
    assert due.take(9.0, 10) == [FIRST]
