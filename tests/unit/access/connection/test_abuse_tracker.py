"""Reconnects, refused requests and bans of users and devices."""

from __future__ import annotations

import pytest

from services.access.connection.abuse_tracker import AbuseTracker, Device
from services.access.session.limits import LimitPolicy
from services.common.telemetry import metrics

ANN = Device("ann", "phone")


def test_a_ban_ends_by_itself() -> None:
    tracker = AbuseTracker(LimitPolicy(ban_s=30))
    assert tracker.ban(ANN, "flood", 100.0) == 30
    assert tracker.banned_for(ANN, 110.0) == pytest.approx(20)
    assert tracker.banned_for(Device("ann", "laptop"), 110.0) == 0
    assert tracker.sweep(110.0) == 1
    assert tracker.banned_for(ANN, 130.0) == 0
    assert tracker.sweep(130.0) == 0


def test_too_many_reconnects_of_one_device_are_noticed_and_forgotten() -> None:
    tracker = AbuseTracker(LimitPolicy(reconnects_per_window=3, reconnect_window_s=60))
    assert [tracker.count_hello(ANN, 100.0) for _ in range(4)] == [False, False, False, True]
    assert not tracker.count_hello(Device("ann", "laptop"), 100.0)
    assert not tracker.count_hello(ANN, 500.0)


def test_a_full_table_refuses_nobody() -> None:
    tracker = AbuseTracker(LimitPolicy(reconnects_per_window=1), entries_max=2)
    for number in range(10):
        assert not tracker.count_hello(Device(f"user{number}", "d"), 1.0)
    tracker.ban(Device("a", "d"), "flood", 1.0)
    tracker.ban(Device("b", "d"), "flood", 1.0)
    tracker.ban(Device("c", "d"), "flood", 1.0)
    assert tracker.banned_for(Device("a", "d"), 2.0)
    assert not tracker.banned_for(Device("c", "d"), 2.0)
    tracker.ban(Device("c", "d"), "flood", 1000.0)
    assert tracker.banned_for(Device("c", "d"), 1001.0)


def test_every_ban_is_counted_by_its_reason() -> None:
    before = metrics.BANS.labels("flood")._value.get()
    AbuseTracker(LimitPolicy()).ban(ANN, "flood", 1.0)
    assert metrics.BANS.labels("flood")._value.get() == before + 1


def test_the_connections_of_one_user_have_one_traffic_as_long_as_one_of_them_has_it() -> None:
    tracker = AbuseTracker(LimitPolicy())
    shared = tracker.traffic_of("ann")
    assert tracker.traffic_of("ann") is shared
    assert tracker.traffic_of("bob") is not shared


def test_refused_requests_count_for_the_user_whatever_the_connection() -> None:
    tracker = AbuseTracker(LimitPolicy(refused_per_window=2, refused_window_s=60, user_factor=2))
    assert [tracker.count_refused("ann", 100.0) for _ in range(5)] == [False] * 4 + [True]
    assert not tracker.count_refused("bob", 100.0)
    assert not tracker.count_refused("ann", 500.0)


def test_all_devices_of_a_user_together_may_come_so_often() -> None:
    tracker = AbuseTracker(LimitPolicy(reconnects_per_window=1, user_reconnect_factor=3))
    assert [tracker.count_user_hello("ann", 100.0) for _ in range(4)] == [False, False, False, True]
