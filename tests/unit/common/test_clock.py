"""The clocks that shells take."""

from __future__ import annotations

import pytest

from services.common.clock import ManualClock, SystemClock


def test_a_manual_clock_stands_still_until_it_is_told_to_go_on() -> None:
    clock = ManualClock(now_s=5, wall_ms=1_000)

    assert (clock.now_s(), clock.wall_ms()) == (5, 1_000)
    clock.advance(1.5)
    assert (clock.now_s(), clock.wall_ms()) == (6.5, 2_500)


def test_a_jump_of_the_time_of_day_leaves_intervals_alone() -> None:
    clock = ManualClock(now_s=5, wall_ms=10_000)

    clock.jump(-4_000)

    assert (clock.now_s(), clock.wall_ms()) == (5, 6_000)


def test_a_monotonic_clock_refuses_to_go_back() -> None:
    with pytest.raises(ValueError, match="jump"):
        ManualClock().advance(-1)


def test_the_system_clock_never_goes_back() -> None:
    clock = SystemClock()

    assert clock.now_s() <= clock.now_s()
    assert clock.wall_ms() > 1_600_000_000_000
