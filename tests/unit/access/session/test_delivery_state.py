"""What a connection was shown, and its pauses, step by step."""

from __future__ import annotations

from services.access.session.delivery_state import FOREVER, DeliveryState


def test_a_push_that_is_not_acknowledged_in_time_brings_one_nudge() -> None:
    state = DeliveryState()
    assert state.push(3, 100.0)
    assert state.due(10.0) == 110.0
    assert not state.check(109.0, 10.0)
    assert state.check(110.0, 10.0)
    assert not state.check(200.0, 10.0)
    assert state.acknowledge(3, 201.0)
    assert state.due(10.0) == FOREVER
    assert not state.acknowledge(3, 202.0), "that was known"


def test_who_does_not_read_gets_no_pushes_until_a_page_covers_what_was_missed() -> None:
    state = DeliveryState()
    state.show(1)
    assert state.block()
    assert not state.block(), "the pause is told once"
    assert not state.push(2, 1.0)
    assert not state.page_written(2, more=False), "it still does not read"
    assert state.unblock()
    assert not state.missed
    assert state.push(3, 2.0)


def test_what_was_dropped_after_the_page_was_read_is_missed() -> None:
    state = DeliveryState()
    state.block()
    state.push(2, 1.0)
    state.push(5, 1.0)
    state.unblock()
    assert not state.page_written(2, more=True), "there are more pages"
    assert state.page_written(3, more=False)
    assert state.missed
    assert state.nudge_head() == 5
    assert not state.missed


def test_what_is_shown_never_goes_back() -> None:
    state = DeliveryState()
    state.show(7)
    state.show(3)
    assert state.shown == 7
