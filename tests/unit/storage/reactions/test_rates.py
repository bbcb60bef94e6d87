"""How often one user acts on one message."""

from __future__ import annotations

from services.storage.reactions.rates import ACTS_MAX, WINDOW_S, ActRates
from services.storage.repository.reactions import Reactor

ANN = Reactor("g:1", 7, "ann")


def test_forty_acts_an_hour_are_allowed_and_then_one_as_soon_as_one_is_an_hour_old() -> None:
    rates = ActRates()
    for number in range(ACTS_MAX):
        assert rates.allows(ANN, number)
        rates.note(ANN, number)
    assert not rates.allows(ANN, WINDOW_S - 0.1)
    assert rates.allows(ANN, WINDOW_S)
    rates.note(ANN, WINDOW_S)
    assert not rates.allows(ANN, WINDOW_S + 0.9)
    assert rates.allows(ANN, WINDOW_S + 1.0)


def test_others_and_other_messages_have_acts_of_their_own() -> None:
    rates = ActRates()
    for _ in range(ACTS_MAX):
        rates.note(ANN, 0.0)
    assert rates.allows(Reactor("g:1", 8, "ann"), 0.0)
    assert rates.allows(Reactor("g:1", 7, "bob"), 0.0)


def test_an_act_that_was_none_does_not_count() -> None:
    rates = ActRates()
    for _ in range(ACTS_MAX):
        rates.note(ANN, 0.0)
    rates.take_back(ANN)
    rates.take_back(Reactor("g:9", 1, "nobody"))
    assert rates.allows(ANN, 0.0)


def test_only_so_many_are_remembered() -> None:
    rates = ActRates(kept=2)
    for user in ("ann", "bob", "ann", "cid"):
        rates.note(Reactor("g:1", 7, user), 0.0)
    assert len(rates) == 2
