"""Heartbeats, dead connections, acknowledgements."""

from __future__ import annotations

from tidings.core.connection.pulse import ACK_S, LATE_S, PONG_S, PROBE_S, Pulse


def _pulse() -> Pulse:
    pulse = Pulse(0.0, heartbeat_s=15.0, idle_heartbeat_s=120.0, acked=0)
    pulse.wait(0.0)
    return pulse


def test_it_pings_in_each_interval_whatever_else_is_sent() -> None:
    """Nothing but a pong shows that a large group has moved on: a busy device must ask as well."""
    pulse = _pulse()
    assert pulse.ack_due(1, 14.0)
    assert not pulse.ping_due(14.9)
    assert pulse.ping_due(15.0)
    pulse.pinged(15.0)
    assert not pulse.ping_due(29.9)
    assert pulse.ping_due(30.0)


def test_a_device_that_is_idle_pings_less_often() -> None:
    pulse = _pulse()
    pulse.idle = True
    pulse.pinged(0.0)
    assert not pulse.ping_due(119.0)
    assert pulse.ping_due(120.0)


def test_an_answer_that_is_owed_makes_it_ask_sooner() -> None:
    pulse = _pulse()
    pulse.owe(1.0)
    assert pulse.ping_due(1.0 + PROBE_S)


def test_a_server_that_says_nothing_after_a_ping_is_dead() -> None:
    pulse = _pulse()
    pulse.pinged(15.0)
    assert not pulse.dead(15.0 + PONG_S - 0.1)
    assert pulse.dead(15.0 + PONG_S)


def test_any_frame_shows_that_it_lives() -> None:
    pulse = _pulse()
    pulse.pinged(15.0)
    pulse.heard(16.0, owed=False)
    assert not pulse.dead(100.0)


def test_a_process_that_was_asleep_itself_looks_again_before_it_gives_up() -> None:
    pulse = _pulse()
    pulse.pinged(15.0)
    woke = 15.0 + PONG_S + 3600.0
    assert not pulse.dead(woke)
    assert pulse.dead(woke + LATE_S)


def test_acknowledgements_are_at_least_200_ms_apart() -> None:
    pulse = _pulse()
    assert pulse.ack_due(1, 1.0)
    assert not pulse.ack_due(2, 1.0 + ACK_S / 2)
    assert pulse.next_wake(2) == 1.0 + ACK_S
    assert pulse.ack_due(2, 1.0 + ACK_S)
    assert not pulse.ack_due(2, 9.0)
