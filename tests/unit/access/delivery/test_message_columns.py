"""Messages as columns: which are aligned, and what they are one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protos.tidings.internal.v1 import delivery_pb2
from services.access.delivery.message_columns import Columns, is_aligned, pushes_of, recipients, rows

Push = delivery_pb2.Push


def columns() -> Columns:
    return Columns(
        bodies=[b"a", b"b", b"c"],
        user_counts=[2, 0, 1],
        users=["ann", "bob", "cid"],
        numbers=[1, 2, 3],
        except_sessions=["s1", "", "s3"],
        accepted_ms=[10, 20, 30],
        traces=["", "t", ""],
    )


def test_each_message_is_a_push_with_its_own_recipients() -> None:
    first, second, third = pushes_of(columns())
    assert first == Push(
        kind=Push.MESSAGE, body=b"a", users=["ann", "bob"], numbers=[1, 2], except_session="s1", accepted_ms=10
    )
    assert second == Push(kind=Push.MESSAGE, body=b"b", accepted_ms=20, trace="t")
    assert third == Push(kind=Push.MESSAGE, body=b"c", users=["cid"], numbers=[3], except_session="s3", accepted_ms=30)


def test_a_list_that_is_empty_says_nothing_of_any_message() -> None:
    few = Columns(bodies=[b"a", b"b"], user_counts=[1, 1], users=["ann", "bob"])
    assert is_aligned(few)
    assert list(recipients(few)) == [("ann", 0), ("bob", 0)]
    assert list(rows(few)) == [(b"a", 1, "", 0, ""), (b"b", 1, "", 0, "")]
    assert [list(push.numbers) for push in pushes_of(few)] == [[], []]
    assert is_aligned(Columns())


BREAKS: dict[str, Callable[[Columns], None]] = {
    "a body": lambda found: found.bodies.append(b"d"),
    "a count": lambda found: found.user_counts.append(1),
    "counts too large": lambda found: found.user_counts.__setitem__(1, 1),
    "a user": lambda found: found.users.append("dan"),
    "a number": lambda found: found.numbers.append(4),
    "a session": lambda found: found.except_sessions.append("s4"),
    "a time": lambda found: found.accepted_ms.append(40),
    "a trace": lambda found: found.traces.append("t"),
}


@pytest.mark.parametrize("which", BREAKS)
def test_lists_of_other_lengths_are_not_aligned(which: str) -> None:
    found = columns()
    assert is_aligned(found)
    BREAKS[which](found)
    assert not is_aligned(found)
