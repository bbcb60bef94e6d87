"""One order for all members of a group."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tools.bench.accounts.group_ledger import Attendance, GroupLog

STEP = 100


@given(st.permutations(range(5, 25)), st.sets(st.integers(5, 24)))
def test_any_order_of_arrival_of_all_is_complete_and_any_loss_is_seen(order: list[int], lost: set[int]) -> None:
    member = Attendance()
    member.begin(4)
    for seq in order:
        if seq not in lost:
            assert member.take(seq)
            assert not member.take(seq)
    assert member.missing(24) == len(lost)
    assert member.got == member.repeated == 20 - len(lost)


def test_what_was_there_before_is_no_arrival() -> None:
    member = Attendance()
    member.begin(4)
    assert not member.take(4)
    assert member.missing(4) == 0


def test_a_push_behind_a_later_one_is_seen_as_reordered() -> None:
    member = Attendance()
    member.begin(0)
    for seq in (2, 1, 3):
        member.take(seq)
    assert member.reordered == 1


def test_members_that_have_another_message_at_a_place_disagree() -> None:
    log = GroupLog(base=4)
    log.see(5, 1)
    log.see(5, 1)
    log.see(5, 2)
    log.see(4, 9)
    assert (log.disagreeing, log.head, log.in_order()) == (1, 5, [1])


def test_a_message_at_two_places_is_doubled() -> None:
    log = GroupLog()
    log.see(1, 7)
    log.see(2, 7)
    assert log.doubled == 1


def test_each_senders_own_order_counts_and_what_was_sent_again_is_let_off() -> None:
    log = GroupLog()
    for seq, mark in enumerate([STEP + 1, 1, STEP + 2, 3, 2], 1):
        log.see(seq, mark)
    assert log.misordered(STEP, set()) == 1
    assert log.misordered(STEP, {2}) == 0
