"""Who counts as alive, from what etcd shows and when it answered."""

from __future__ import annotations

from services.common.registry.contract import NodeRecord
from services.common.registry.membership_view import SLACK_S, MembershipView

TTL_S = 6.0
A = NodeRecord("a", "access", "a.1", "a:1", state="ready")
B = NodeRecord("b", "access", "b.1", "b:1", state="ready")


def view_of(*records: NodeRecord) -> MembershipView:
    """That had an answer at 0 s."""
    found = MembershipView(TTL_S)
    found.answered(0.0)
    found.listed(records, 10, 0.0)
    return found


def names(found: MembershipView) -> str:
    return "".join(node.name for node in found.membership().nodes)


def test_who_is_listed_or_put_is_there() -> None:
    found = view_of(A)
    assert names(found) == "a"
    found.put(B)
    assert names(found) == "ab"
    assert found.next_due_s() is None


def test_who_vanishes_while_etcd_answers_is_due_at_once_and_out_with_a_tombstone() -> None:
    found = view_of(A, B)
    found.answered(1.0)
    found.removed("access", "b", 1.0)
    assert names(found) == "ab", "until it has a tombstone"
    assert found.due(1.0) == [B]
    found.tombstoned(B)
    assert names(found) == "a"
    assert found.due(99.0) == []


def test_who_vanishes_after_a_silence_has_one_lease_time_to_come_back() -> None:
    found = view_of(A, B)
    found.answered(5.0)
    found.removed("access", "b", 5.5)
    assert found.due(5.5) == []
    assert found.next_due_s() == 5.0 + TTL_S + SLACK_S
    assert found.due(5.0 + TTL_S + SLACK_S) == [B]


def test_a_silence_shorter_than_any_lease_gives_no_grace() -> None:
    found = view_of(A, B)
    found.answered(2.9)
    found.removed("access", "b", 3.0)
    assert found.due(3.0) == [B]


def test_the_grace_ends() -> None:
    found = view_of(A, B)
    for now_s in (5.0, 7.0, 9.0, 11.0, 12.0):
        found.answered(now_s)
    found.removed("access", "b", 12.5)
    assert found.due(12.5) == [B]


def test_who_comes_back_in_time_was_never_away() -> None:
    found = view_of(A, B)
    found.answered(5.0)
    found.listed([A], 12, 5.0)
    assert names(found) == "ab"
    found.put(B)
    assert found.next_due_s() is None
    assert names(found) == "ab"


def test_a_new_boot_takes_the_place_of_a_missing_one() -> None:
    found = view_of(A, B)
    found.answered(5.0)
    found.removed("access", "b", 5.0)
    again = NodeRecord("b", "access", "b.2", "b:1")
    found.put(again)
    found.tombstoned(B)
    assert found.membership().nodes == (A, again)


def test_another_silence_prolongs_the_grace_of_the_missing() -> None:
    found = view_of(A, B)
    found.answered(1.0)
    found.removed("access", "b", 1.0)
    found.answered(10.0)
    assert found.due(10.0) == []
    assert found.due(10.0 + TTL_S + SLACK_S) == [B]


def test_etcd_that_lost_its_data_gives_grace_without_a_silence() -> None:
    found = view_of(A, B)
    found.answered(1.0)
    found.listed([], 2, 1.0)
    assert names(found) == "ab"
    assert found.due(1.0) == []
    assert found.revision == 2


def test_a_later_list_without_somebody_makes_it_missing_at_once() -> None:
    found = view_of(A, B)
    found.answered(1.0)
    found.listed([A], 12, 1.0)
    assert found.due(1.0) == [B]


def test_two_nodes_of_one_name_and_different_kinds_are_two() -> None:
    logic = NodeRecord("a", "logic", "l.1", "l:1")
    found = view_of(A, logic)
    found.removed("logic", "a", 0.0)
    found.tombstoned(logic)
    assert found.membership().nodes == (A,)
