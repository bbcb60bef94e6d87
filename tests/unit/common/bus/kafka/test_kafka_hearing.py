"""When a consumer is lost: a silent broker and a quiet topic are told apart."""

from __future__ import annotations

from services.common.bus.kafka.hearing import Hearing

POLL_S = 0.5


def polled(*fetched_ms: int, unanswered_max: int = 4) -> Hearing:
    """A hearing after a poll for each of these times of the last fetch."""
    hearing = Hearing(unanswered_max)
    hearing.ask(0.0)
    for number, each in enumerate(fetched_ms, start=1):
        hearing.poll(each, number * POLL_S)
    return hearing


def test_a_quiet_topic_whose_fetches_are_answered_is_never_lost() -> None:
    hearing = polled(*range(1_000, 1_000_000, 500))
    assert not hearing.is_lost
    assert hearing.quiet_s(1998 * POLL_S) == 0


def test_as_many_polls_without_an_answer_as_are_allowed_lose_the_consumer() -> None:
    assert not polled(1000, 1000, 1000, 1000).is_lost
    assert polled(1000, 1000, 1000, 1000, 1000).is_lost


def test_a_consumer_that_was_never_answered_is_lost_too() -> None:
    assert polled(0, 0, 0, 0).is_lost


def test_one_answer_now_and_then_is_enough() -> None:
    hearing = Hearing(4)
    for number in range(4, 400):
        hearing.poll(number // 4, number * POLL_S)
        assert not hearing.is_lost


def test_polls_that_give_what_was_fetched_before_are_no_silence() -> None:
    hearing = polled(1000)
    for _ in range(100):
        hearing.poll(1000, 1.0, empty=False)
    hearing.poll(1000, 1.0)
    assert not hearing.is_lost


def test_a_new_consumer_is_not_lost_by_what_the_one_before_it_missed() -> None:
    hearing = polled(1000, 1000, 1000, 1000, 1000)
    hearing.begin()
    assert not hearing.is_lost
    for _ in range(3):
        hearing.poll(0, 3.0)
    assert not hearing.is_lost
    hearing.poll(0, 3.0)
    assert hearing.is_lost


def test_a_new_consumer_that_is_not_answered_either_does_not_end_the_quiet() -> None:
    hearing = polled(1000, 1000)
    hearing.begin()
    assert hearing.quiet_s(10.0) == 10.0 - POLL_S


def test_a_process_that_stood_still_loses_nothing() -> None:
    hearing = polled(1000)
    hearing.poll(1000, 3600.0)
    assert not hearing.is_lost


def test_a_clock_that_is_set_back_is_an_answer_all_the_same() -> None:
    assert not polled(9000, 8000, 7000, 6000, 5000, 4000).is_lost


def test_a_reader_that_is_busy_does_not_wait_for_kafka() -> None:
    hearing = polled(1000)
    assert hearing.quiet_s(100.0) == 100.0 - POLL_S
    hearing.stop_asking()
    assert hearing.quiet_s(100.0) == 0
    hearing.ask(90.0)
    assert hearing.quiet_s(100.0) == 10.0
