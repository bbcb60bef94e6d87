"""The account of every message that the load generator keeps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tools.bench.accounts.ledger import Ledger, Tally


def test_what_was_acknowledged_and_never_arrived_is_missing() -> None:
    ledger = Ledger()
    ledger.acknowledge(0, 1)
    ledger.acknowledge(1, 2)
    ledger.arrive(0, 1)
    assert ledger.missing == 1


def test_a_push_that_came_twice_is_not_a_message_that_was_stored_twice() -> None:
    ledger = Ledger()
    assert ledger.arrive(0, 1)
    assert not ledger.arrive(0, 1)
    assert (ledger.duplicates_seen, ledger.doubled) == (1, 0)
    ledger.arrive(0, 2)
    assert ledger.doubled == 1


def test_a_push_out_of_order_is_not_a_message_out_of_order() -> None:
    ledger = Ledger()
    ledger.arrive(1, 2)
    ledger.arrive(0, 1)
    assert (ledger.reordered_seen, ledger.misordered) == (1, 0)
    ledger.arrive(5, 3)
    ledger.arrive(4, 4)
    assert ledger.misordered == 1


def test_what_was_refused_and_sent_again_may_stand_behind_later_ones() -> None:
    ledger = Ledger()
    ledger.send_again(0)
    ledger.arrive(1, 1)
    ledger.arrive(2, 2)
    ledger.arrive(0, 3)
    assert ledger.misordered == 0


def test_what_arrives_under_another_seq_than_was_acknowledged_is_wrong() -> None:
    ledger = Ledger()
    ledger.acknowledge(0, 2)
    ledger.arrive(0, 1)
    ledger.acknowledge(1, 1)
    assert ledger.disagreeing == 1


def test_those_without_an_answer_are_known() -> None:
    ledger = Ledger()
    ledger.acknowledge(1, 7)
    assert ledger.unanswered(3) == [0, 2]


@given(st.permutations(range(20)), st.sets(st.integers(0, 19)))
def test_any_order_of_arrival_of_all_is_right_and_any_loss_is_seen(order: list[int], lost: set[int]) -> None:
    ledger = Ledger()
    for number in range(20):
        ledger.acknowledge(number, number + 1)
    for number in order:
        if number not in lost:
            ledger.arrive(number, number + 1)
    tally = Tally()
    tally.add(ledger)
    assert tally.lost == len(lost)
    assert tally.right is not bool(lost)
