"""Nodes that failed lately: longer with each failure in a row, forgotten with the first answer."""

from __future__ import annotations

from services.common.rpc.demotion import Demotions


def everybody(_: str) -> bool:
    return True


def test_the_time_doubles_with_each_failure_in_a_row_up_to_the_longest() -> None:
    demotions, now_s = Demotions(first_s=1.0, max_s=8.0), 100.0
    for left_alone_s in (1.0, 2.0, 4.0, 8.0, 8.0):
        demotions.failed("boot", now_s, everybody)
        assert demotions.holds("boot", now_s + left_alone_s - 0.01)
        now_s += left_alone_s
        assert not demotions.holds("boot", now_s)


def test_an_answer_ends_it_and_the_next_failure_is_a_first_one() -> None:
    demotions = Demotions()
    demotions.failed("boot", 0.0, everybody)
    demotions.failed("boot", 0.0, everybody)
    demotions.answered("boot")
    assert not demotions
    assert not demotions.holds("boot", 0.0)
    demotions.failed("boot", 0.0, everybody)
    assert not demotions.holds("boot", 1.0)


def test_one_node_says_nothing_about_another() -> None:
    demotions = Demotions()
    demotions.failed("boot", 0.0, everybody)
    assert demotions
    assert not demotions.holds("other", 0.0)


def test_the_dead_are_forgotten_when_one_fails() -> None:
    demotions = Demotions()
    demotions.failed("dead", 0.0, everybody)
    demotions.failed("boot", 0.0, lambda boot: boot != "dead")
    assert not demotions.holds("dead", 0.0)
    assert demotions.holds("boot", 0.0)


def test_very_many_failures_in_a_row_are_no_overflow() -> None:
    demotions = Demotions()
    for _ in range(5000):
        demotions.failed("boot", 0.0, everybody)
    assert not demotions.holds("boot", 8.0)
