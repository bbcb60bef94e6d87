"""How long a gap stays open before what is missing is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.core.messages.gap_time import CEILING_S, FLOOR_S, FRESH_S, LATE_MAX, PATIENCE_MAX_S, GapTime

KEY = "inbox"


def _stayed_open(times: GapTime, took_s: float, now: float, upto: int = 1) -> float:
    """A gap opens, and a push closes it; when that is."""
    times.opened(KEY, upto, now)
    times.closed(KEY, now + took_s)
    return now + took_s


def test_nothing_is_known_at_first() -> None:
    assert GapTime().wait_s(0.0) == FLOOR_S


def test_the_first_sample_counts_three_times_and_the_next_ones_by_eighths_and_quarters() -> None:
    times = GapTime()
    now = _stayed_open(times, 0.4, 0.0)
    assert times.wait_s(now) == pytest.approx(0.4 + 4 * 0.2)
    now = _stayed_open(times, 0.8, now)
    assert times.wait_s(now) == pytest.approx((0.4 + 0.4 / 8) + 4 * (0.2 + (0.4 - 0.2) / 4))


def test_where_pushes_always_take_as_long_it_is_a_little_more_than_that() -> None:
    times, now = GapTime(), 0.0
    for _ in range(50):
        now = _stayed_open(times, 0.9, now)
    assert times.wait_s(now) == pytest.approx(0.9 + FLOOR_S, abs=0.01)


def test_it_grows_at_once_and_shrinks_again_when_pushes_are_fast_again() -> None:
    times, now = GapTime(), 0.0
    for _ in range(20):
        now = _stayed_open(times, 0.001, now)
    assert times.wait_s(now) < 2 * FLOOR_S
    now = _stayed_open(times, 1.0, now)
    assert times.wait_s(now) > 1.0
    for _ in range(40):
        now = _stayed_open(times, 0.001, now + 1.0)
    assert times.wait_s(now) < 2 * FLOOR_S


def test_many_samples_of_one_moment_are_one_observation() -> None:
    """Else a batch of answers that all took as long would leave no room for the next batch."""
    times = GapTime()
    for _ in range(100):
        times.answered(0.5, 10.0)
    assert times.wait_s(10.0) == pytest.approx(0.5 + 4 * 0.25)
    times.answered(2.0, 10.1)  # a longer one counts at once
    assert times.wait_s(10.1) > 2.0


def test_the_answers_to_sends_are_known_before_the_first_gap() -> None:
    times = GapTime()
    times.answered(0.5, 1.0)
    assert times.wait_s(1.0) > 0.5


def test_what_was_measured_long_ago_counts_no_more() -> None:
    times = GapTime()
    now = _stayed_open(times, 2.0, 0.0)
    assert times.wait_s(now + FRESH_S) == CEILING_S
    assert times.wait_s(now + FRESH_S + 0.1) == FLOOR_S
    now = _stayed_open(times, 0.001, now + 2 * FRESH_S)
    assert times.wait_s(now) < 2 * FLOOR_S


def test_a_heartbeat_that_is_shorter_than_the_ceiling_is_the_ceiling() -> None:
    times = GapTime()
    times.begin(1.0)
    now = _stayed_open(times, 30.0, 0.0)
    assert times.wait_s(now) == 1.0


def test_a_gap_that_a_page_closed_is_measured_when_its_push_comes_after_all() -> None:
    times = GapTime()
    times.opened(KEY, 7, 0.0)
    times.fetched(KEY)
    times.came_again(KEY, 6, 0.8)
    before_s = times.wait_s(0.8)
    times.came_again(KEY, 7, 1.0)
    assert before_s == 2 * FLOOR_S
    assert times.wait_s(1.0) == pytest.approx(1.0 + 4 * 0.5)


def test_a_push_that_never_came_is_no_sample() -> None:
    times = GapTime()
    times.opened(KEY, 7, 0.0)
    times.fetched(KEY)
    times.came_in_order(KEY)
    times.came_again(KEY, 7, 5.0)
    assert times.wait_s(5.0) == FLOOR_S


def test_until_a_push_comes_again_the_time_doubles_up_to_the_ceiling() -> None:
    times = GapTime()
    waits: list[float] = []
    for upto in range(6):
        times.opened(KEY, upto, 0.0)
        waits.append(times.wait_s(0.0))
        times.fetched(KEY)
    assert waits == [0.2, 0.4, 0.8, 1.6, CEILING_S, CEILING_S]
    times.came_in_order(KEY)
    assert times.wait_s(0.0) == FLOOR_S


def test_pages_that_bring_nothing_are_asked_for_later_and_later_beyond_the_ceiling() -> None:
    times = GapTime()
    waits = [times.wait_s(0.0, fruitless) for fruitless in (0, 1, 2, 3, 30)]
    assert waits == [0.2, 0.4, 0.8, 1.6, PATIENCE_MAX_S]


def test_what_was_open_on_another_connection_is_not_measured_on_this_one() -> None:
    times = GapTime()
    times.opened("a", 1, 0.0)
    times.opened("b", 1, 0.0)
    times.fetched("b")
    times.came_in_order("c")
    times.begin(15.0)
    times.closed("a", 2.0)
    times.came_again("b", 1, 2.0)
    assert times.wait_s(2.0) == FLOOR_S


def test_of_the_gaps_that_pages_closed_so_many_are_kept() -> None:
    times = GapTime()
    for number in range(10 * LATE_MAX):
        times.opened(f"g:{number}", 1, 0.0)
        times.fetched(f"g:{number}")
    assert len(times._late) == LATE_MAX
    assert not times._open


TOOK = st.floats(0.0, 60.0)
STEPS = st.lists(
    st.tuples(st.sampled_from(["push", "late push", "answer", "lost push", "pause"]), TOOK, st.floats(0.0, 100.0))
)


@given(STEPS, st.floats(1.0, 120.0))
def test_it_stays_between_the_floor_and_the_ceiling_whatever_is_measured(
    steps: list[tuple[str, float, float]], heartbeat_s: float
) -> None:
    times, now = GapTime(), 0.0
    times.begin(heartbeat_s)
    for upto, (what, took_s, pause_s) in enumerate(steps):
        match what:
            case "push":
                now = _stayed_open(times, took_s, now, upto)
            case "late push" | "lost push":
                times.opened(KEY, upto, now)
                times.fetched(KEY)
                now += took_s
                if what == "late push":
                    times.came_again(KEY, upto, now)
            case "answer":
                times.answered(took_s, now)
            case _:
                now += pause_s
        assert FLOOR_S <= times.wait_s(now) <= min(CEILING_S, heartbeat_s)
