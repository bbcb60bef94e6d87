"""Stored messages as columns: by owner, in runs, in a parcel."""

from __future__ import annotations

from protos.tidings.internal.v1 import delivery_pb2
from services.logic.publishing.message_columns import OutgoingMessages, add_messages, by_owner, runs, without
from tests.unit.logic.harness import pushes_of

OWNERS = {"amy": "a-0", "bob": "a-1", "cleo": "a-0"}


def messages(*rows: tuple[bytes, list[str]], traces: tuple[str, ...] = ()) -> OutgoingMessages:
    """Rows of (body, users); everything else about a row follows from its place."""
    count = len(rows)
    users = [user for _, users in rows for user in users]
    return OutgoingMessages(
        [body for body, _ in rows],
        [len(users) for _, users in rows],
        users,
        list(range(1, len(users) + 1)),
        [f"s{place}" for place in range(count)],
        [1000 + place for place in range(count)],
        list(traces),
    )


THREE = messages((b"0", ["amy", "bob"]), (b"1", ["bob"]), (b"2", ["cleo", "bob", "amy"]), traces=("", "tp", ""))


def test_each_owner_has_the_rows_of_its_users_with_them_alone() -> None:
    shares = by_owner(THREE, OWNERS.get)
    assert shares["a-0"] == OutgoingMessages(
        [b"0", b"2"], [1, 2], ["amy", "cleo", "amy"], [1, 4, 6], ["s0", "s2"], [1000, 1002], ["", ""]
    )
    assert shares["a-1"] == OutgoingMessages(
        [b"0", b"1", b"2"], [1, 1, 1], ["bob"] * 3, [2, 3, 5], ["s0", "s1", "s2"], [1000, 1001, 1002], ["", "tp", ""]
    )


def test_users_whom_nobody_owns_stand_apart() -> None:
    shares = by_owner(messages((b"0", ["amy", "nobody"]), (b"1", ["no one"])), OWNERS.get)
    assert (shares["a-0"].users, shares[None].users, shares[None].user_counts) == (
        ["amy"],
        ["nobody", "no one"],
        [1, 1],
    )


def test_rows_that_are_not_to_be_told_are_left_out() -> None:
    assert without(THREE, {0, 2}) == OutgoingMessages([b"1"], [1], ["bob"], [3], ["s1"], [1001], ["tp"])
    assert without(THREE._replace(traces=[]), {1}).user_counts == [2, 3]


def test_runs_hold_what_fits_and_at_least_one_row() -> None:
    many = messages(*[(bytes([place]) * 300, ["amy", "bob"]) for place in range(7)])
    assert [run for run, _ in runs(many, 100_000)] == [many]
    cut = list(runs(many, 1000))
    assert [len(run.bodies) for run, _ in cut] == [2, 2, 2, 1]
    assert all(size == run.size <= 1000 for run, size in cut)
    assert [user for run, _ in cut for user in run.users] == many.users
    assert [number for run, _ in cut for number in run.numbers] == many.numbers
    assert [len(run.bodies) for run, _ in runs(many, 10)] == [1] * 7


def test_the_size_is_not_below_what_a_parcel_takes() -> None:
    long = messages(*[(bytes(100), ["u" * 64] * 50) for _ in range(20)], traces=("t" * 55,) * 20)
    long.numbers[:] = [2**40] * len(long.numbers)
    long.accepted_ms[:] = [1_700_000_000_000] * 20
    long.except_sessions[:] = ["s" * 24] * 20
    columns = delivery_pb2.MessageColumns()
    add_messages(columns, long)
    assert long.size * 0.8 < columns.ByteSize() <= long.size


def test_rows_that_are_traced_and_rows_that_are_not_stay_aligned() -> None:
    columns = delivery_pb2.MessageColumns()
    untraced, traced = messages((b"0", ["amy"])), messages((b"1", ["bob"]), (b"2", ["amy"]), traces=("tp", ""))
    for part in (untraced, traced, untraced):
        add_messages(columns, part)
    assert [(push.body, push.trace, push.except_session, push.accepted_ms) for push in pushes_of(columns)] == [
        (b"0", "", "s0", 1000),
        (b"1", "tp", "s0", 1000),
        (b"2", "", "s1", 1001),
        (b"0", "", "s0", 1000),
    ]
    columns = delivery_pb2.MessageColumns()
    add_messages(columns, untraced)
    assert list(columns.traces) == []


def test_the_trace_of_many_is_that_of_the_first_that_is_traced() -> None:
    assert (THREE.trace, messages((b"0", [])).trace) == ("tp", "")
