"""What is due next, of many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidings.core.due import STALE_MAX, Due


def test_the_earliest_is_first_and_a_name_has_one_time() -> None:
    due = Due()
    due.put("a", 3.0)
    due.put("b", 2.0)
    due.put("a", 1.0)
    due.put("b", 5.0)
    assert due.next() == 1.0
    assert due.pop(0.9) is None
    assert [due.pop(9.0), due.pop(9.0), due.pop(9.0)] == ["a", "b", None]


def test_what_was_dropped_is_not_due() -> None:
    due = Due()
    due.put("a", 1.0)
    due.drop("a")
    assert due.next() is None
    due.put("a", 2.0)
    assert due.next() == 2.0


def test_times_that_count_no_more_are_not_kept() -> None:
    due = Due()
    for step in range(10_000):
        due.put("a", 10_000.0 - step)
    assert len(due._heap) <= STALE_MAX + 3


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["put", "drop", "pop"]), st.integers(0, 9))))
def test_it_is_what_a_walk_through_all_of_them_would_find(steps: list[tuple[str, str, int]]) -> None:
    due, plain = Due(), dict[str, float]()
    for name, step, time in steps:
        match step:
            case "put":
                due.put(name, time)
                plain[name] = min(time, plain.get(name, time))
            case "drop":
                due.drop(name)
                plain.pop(name, None)
            case _:
                popped = due.pop(time)
                if popped is None:
                    assert all(at > time for at in plain.values())
                else:
                    assert plain[popped] == min(plain.values())
                    del plain[popped]
        assert due.next() == min(plain.values(), default=None)
