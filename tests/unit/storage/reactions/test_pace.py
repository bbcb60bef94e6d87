"""How often one user acts on one message."""

from __future__ import annotations

from services.storage.reactions.pace import ACTS_MAX, WINDOW_S, ActPace
from services.storage.repository.reactions import Reactor

ANN = Reactor("g:1", 7, "ann")


def test_forty_acts_an_hour_are_allowed_and_then_one_as_soon_as_one_is_an_hour_old() -> None:
    pace = ActPace()
    for number in range(ACTS_MAX):
        assert pace.allows(ANN, number)
        pace.note(ANN, number)
    assert not pace.allows(ANN, WINDOW_S - 0.1)
    assert pace.allows(ANN, WINDOW_S)
    pace.note(ANN, WINDOW_S)
    assert not pace.allows(ANN, WINDOW_S + 0.9)
    assert pace.allows(ANN, WINDOW_S + 1.0)


def test_others_and_other_messages_have_acts_of_their_own() -> None:
    pace = ActPace()
    for _ in range(ACTS_MAX):
        pace.note(ANN, 0.0)
    assert pace.allows(Reactor("g:1", 8, "ann"), 0.0)
    assert pace.allows(Reactor("g:1", 7, "bob"), 0.0)


def test_an_act_that_was_none_does_not_count() -> None:
    pace = ActPace()
    for _ in range(ACTS_MAX):
        pace.note(ANN, 0.0)
    pace.take_back(ANN)
    pace.take_back(Reactor("g:9", 1, "nobody"))
    assert pace.allows(ANN, 0.0)


def test_only_so_many_are_remembered() -> None:
    pace = ActPace(kept=2)
    for user in ("ann", "bob", "ann", "cid"):
        pace.note(Reactor("g:1", 7, user), 0.0)
    assert len(pace) == 2
