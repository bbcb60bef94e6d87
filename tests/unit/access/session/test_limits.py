"""Windows, and the bucket of sends."""

from __future__ import annotations

import pytest

from services.access.session.limits import ConnectionLimits, LimitPolicy, UserTraffic, Verdict, Window


def test_a_burst_within_one_window_is_counted_exactly() -> None:
    window = Window()
    assert [window.add(1, 1000.0 + step / 10, 60) for step in range(5)] == [1, 2, 3, 4, 5]


def test_what_was_in_the_last_window_weighs_less_and_less() -> None:
    window = Window()
    window.add(10, 1000.0, 60)
    assert window.add(0, 1060.0, 60) == pytest.approx(10)
    assert window.add(0, 1090.0, 60) == pytest.approx(5)
    assert window.add(0, 1119.0, 60) == pytest.approx(10 / 60)
    assert window.add(1, 1240.0, 60) == pytest.approx(1)


def test_sends_have_a_burst_and_then_a_rate() -> None:
    policy = LimitPolicy(sends_per_s=10, sends_burst=20)
    limits = ConnectionLimits()
    assert [limits.take_send(5.0, policy) for _ in range(20)] == [0.0] * 20
    assert limits.take_send(5.0, policy) == pytest.approx(0.1)
    assert limits.take_send(5.1, policy) == 0.0
    assert limits.take_send(5.1, policy) == pytest.approx(0.1)
    assert [limits.take_send(60.0, policy) for _ in range(20)] == [0.0] * 20


def test_the_connections_of_a_user_share_a_bucket_of_sends_from_the_second_one_on() -> None:
    policy = LimitPolicy(sends_per_s=10, sends_burst=20, user_factor=4)
    shared = UserTraffic()
    many = [ConnectionLimits() for _ in range(10)]
    assert [many[0].take_send(5.0, policy) for _ in range(20)] == [0.0] * 20, "alone it has its own"
    for limits in many:
        limits.shared = shared
    sent = sum(not limits.take_send(5.0, policy) for limits in many[1:] for _ in range(20))
    assert sent == 80
    assert many[9].take_send(5.0, policy) == pytest.approx(1 / 40)
    assert many[9].take_send(5.03, policy) == 0.0
    assert sum(not limits.take_send(6.03, policy) for limits in many for _ in range(20)) == 40
    assert many[0].take_send(6.03, policy) > 0


def test_what_one_bucket_refuses_is_not_taken_from_the_other() -> None:
    policy = LimitPolicy(sends_per_s=10, sends_burst=1, user_factor=2)
    shared = UserTraffic()
    one, other = ConnectionLimits(), ConnectionLimits()
    one.shared = other.shared = shared
    assert one.take_send(5.0, policy) == 0.0
    assert [one.take_send(5.0, policy) for _ in range(50)] == [pytest.approx(0.1)] * 50
    assert other.take_send(5.0, policy) == 0.0, "the user has one left"


def test_parts_have_a_bucket_of_their_own() -> None:
    policy = LimitPolicy(sends_per_s=10, sends_burst=20, parts_per_s=30)
    limits = ConnectionLimits()
    assert [limits.take_part(5.0, policy) for _ in range(30)] == [0.0] * 30
    assert limits.take_part(5.0, policy) == pytest.approx(1 / 30)
    assert limits.take_send(5.0, policy) == 0.0
    assert limits.take_part(5.04, policy) == 0.0
    assert LimitPolicy(parts_per_s=0).parts_per_s == limits.take_part(5.04, LimitPolicy(parts_per_s=0)) == 0.0


def test_the_connections_of_a_user_share_a_bucket_of_parts() -> None:
    policy = LimitPolicy(parts_per_s=30, user_factor=4)
    shared = UserTraffic()
    many = [ConnectionLimits() for _ in range(10)]
    for limits in many:
        limits.shared = shared
    assert sum(not limits.take_part(5.0, policy) for limits in many for _ in range(30)) == 120
    assert many[9].take_part(5.0, policy) == pytest.approx(1 / 120)


@pytest.mark.parametrize("rate", [0.05, 0.4, 0.999])
def test_rates_below_one_a_second_let_one_through_and_then_the_next_in_time(rate: float) -> None:
    policy = LimitPolicy(sends_per_s=rate, sends_burst=2 * rate, user_factor=1)
    limits = ConnectionLimits()
    assert limits.take_send(5.0, policy) == 0.0
    wait_s = 2 * limits.take_send(5.0, policy)
    assert 0 < wait_s <= 2 / rate
    assert limits.take_send(5.0 + wait_s, policy) == 0.0


def test_less_than_one_frame_in_a_window_is_one() -> None:
    policy = LimitPolicy(frames_per_s=0.05, bytes_per_s=0, traffic_window_s=10)
    limits = ConnectionLimits()
    assert [limits.count_frame(1, at, policy) for at in (1000.0, 1000.0, 1100.0)] == [
        Verdict.FINE,
        Verdict.SLOW_DOWN,
        Verdict.FINE,
    ]


def test_without_a_limit_nothing_is_refused() -> None:
    policy = LimitPolicy(sends_per_s=0, frames_per_s=0, bytes_per_s=0, refused_per_window=0)
    limits = ConnectionLimits()
    for _ in range(10_000):
        assert limits.take_send(1.0, policy) == 0.0
        assert limits.count_frame(1_000_000, 1.0, policy) is Verdict.FINE
        assert not limits.count_refused(1.0, policy)


@pytest.mark.parametrize(("frames", "size"), [(1, 0), (0, 1)])
def test_frames_and_bytes_over_the_limit_are_slowed_down_and_far_over_it_abuse(frames: int, size: int) -> None:
    policy = LimitPolicy(frames_per_s=10 * frames, bytes_per_s=10 * size, traffic_window_s=10)
    limits = ConnectionLimits()
    verdicts = [limits.count_frame(size, 1.0, policy) for _ in range(201)]
    assert verdicts == [Verdict.FINE] * 100 + [Verdict.SLOW_DOWN] * 100 + [Verdict.ABUSE]
