"""How long a command may try whether MongoDB is back."""

from __future__ import annotations

from services.storage.repository.mongo.connection import PROBE_S, Patience


def test_each_failure_doubles_it_up_to_the_deadline_and_an_answer_begins_anew() -> None:
    patience = Patience(1.5)
    seen = []
    for _ in range(5):
        seen.append(patience.now_s)
        patience.failed()
    assert seen == [PROBE_S, 0.6, 1.2, 1.5, 1.5]
    patience.answered()
    assert patience.now_s == PROBE_S


def test_it_is_never_above_the_deadline() -> None:
    assert Patience(0.1).now_s == 0.1
