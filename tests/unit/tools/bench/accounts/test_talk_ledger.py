"""The account of every message of a crowd."""

from __future__ import annotations

from tools.bench.accounts.ledger import Tally
from tools.bench.accounts.talk_ledger import TalkLedger

ANN, BOB, CID = 0, 1, 2


def tally_of(ledger: TalkLedger) -> Tally:
    tally = Tally()
    ledger.add_to(tally)
    return tally


def ledger_of(*pairs: tuple[int, int]) -> TalkLedger:
    ledger = TalkLedger()
    for sender, receiver in pairs:
        ledger.send(sender, receiver, 0.0)
    return ledger


def test_what_was_acknowledged_and_arrived_once_is_right() -> None:
    ledger = ledger_of((ANN, BOB), (BOB, ANN))
    for number, receiver in ((0, BOB), (1, ANN)):
        assert ledger.acknowledge(number, number + 1)
        assert ledger.arrive(number, receiver, number + 1)
    tally = tally_of(ledger)
    assert (tally.sent, tally.acknowledged, tally.arrived) == (2, 2, 2)
    assert tally.right


def test_what_was_acknowledged_and_never_arrived_is_lost() -> None:
    ledger = ledger_of((ANN, BOB), (ANN, BOB))
    ledger.acknowledge(0, 1)
    ledger.acknowledge(1, 2)
    ledger.arrive(1, BOB, 2)
    assert ledger.missing() == [0]
    assert not ledger.complete
    assert tally_of(ledger).lost == 1


def test_those_without_an_answer_are_known_by_their_sender() -> None:
    ledger = ledger_of((ANN, BOB), (BOB, ANN), (ANN, CID))
    ledger.acknowledge(0, 1)
    assert ledger.unanswered() == [1, 2]
    assert ledger.unanswered(ANN) == [2]
    assert tally_of(ledger).unanswered == 2


def test_a_second_answer_is_none() -> None:
    ledger = ledger_of((ANN, BOB))
    assert ledger.acknowledge(0, 1)
    assert not ledger.acknowledge(0, 1)
    assert ledger.acknowledged == 1


def test_a_push_that_came_twice_is_not_a_message_that_was_stored_twice() -> None:
    ledger = ledger_of((ANN, BOB))
    assert ledger.arrive(0, BOB, 1)
    assert not ledger.arrive(0, BOB, 1)
    assert (ledger.duplicates_seen, ledger.doubled) == (1, 0)
    ledger.arrive(0, BOB, 2)
    assert ledger.doubled == 1
    assert not tally_of(ledger).right


def test_a_push_out_of_order_is_not_a_message_out_of_order() -> None:
    ledger = ledger_of(*[(ANN, BOB)] * 4)
    ledger.arrive(1, BOB, 2)
    ledger.arrive(0, BOB, 1)
    tally = tally_of(ledger)
    assert (tally.reordered_seen, tally.reordered_after_sort) == (1, 0)
    ledger.arrive(3, BOB, 3)
    ledger.arrive(2, BOB, 4)
    assert tally_of(ledger).reordered_after_sort == 1


def test_the_two_directions_of_a_chat_have_their_own_order() -> None:
    ledger = ledger_of((ANN, BOB), (BOB, ANN))
    ledger.arrive(0, BOB, 2)
    ledger.arrive(1, ANN, 1)
    assert tally_of(ledger).reordered_after_sort == 0


def test_what_was_refused_and_sent_again_may_stand_behind_later_ones() -> None:
    ledger = ledger_of((ANN, BOB), (ANN, BOB))
    ledger.send_again(0)
    ledger.arrive(1, BOB, 1)
    ledger.arrive(0, BOB, 2)
    assert tally_of(ledger).reordered_after_sort == 0


def test_what_comes_under_another_seq_or_to_somebody_else_is_wrong() -> None:
    ledger = ledger_of((ANN, BOB), (ANN, BOB))
    ledger.acknowledge(0, 2)
    ledger.arrive(0, BOB, 1)
    assert tally_of(ledger).disagreeing == 1
    assert not ledger.arrive(1, CID, 2)
    assert not ledger.arrive(7, BOB, 3)
    assert tally_of(ledger).disagreeing == 3
