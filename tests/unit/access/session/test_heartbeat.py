"""The timing wheel; what a pulse means is in the transcripts of tests/scenario/access."""

from __future__ import annotations

from services.access.session.heartbeat import FOREVER, TimingWheel


class Entry:
    def __init__(self) -> None:
        self.wheel_tick = 0


def test_an_entry_is_woken_once_and_not_before_its_time() -> None:
    wheel: TimingWheel[Entry] = TimingWheel(100.0, tick_s=0.25)
    entry = Entry()
    wheel.schedule(entry, 101.1)
    assert wheel.advance(101.0) == []
    assert wheel.advance(101.25) == [entry]
    assert wheel.advance(500.0) == []
    assert len(wheel) == 0


def test_an_earlier_time_counts_and_a_later_one_changes_nothing() -> None:
    wheel: TimingWheel[Entry] = TimingWheel(0.0)
    entry = Entry()
    wheel.schedule(entry, 10.0)
    wheel.schedule(entry, 20.0)
    wheel.schedule(entry, 5.0)
    wheel.schedule(entry, FOREVER)
    assert len(wheel) == 1
    assert wheel.advance(5.3) == [entry]
    assert wheel.advance(20.5) == []


def test_what_is_further_away_than_a_turn_is_woken_once_a_turn() -> None:
    wheel: TimingWheel[Entry] = TimingWheel(0.0, tick_s=1.0, places=10)
    entry = Entry()
    wheel.schedule(entry, 1000.0)
    assert wheel.advance(9.0) == [entry]


def test_what_is_overdue_is_woken_at_the_next_tick() -> None:
    wheel: TimingWheel[Entry] = TimingWheel(100.0)
    entry = Entry()
    wheel.schedule(entry, 3.0)
    assert wheel.advance(100.25) == [entry]


def test_after_a_long_pause_everybody_who_was_due_is_woken_once() -> None:
    wheel: TimingWheel[Entry] = TimingWheel(0.0, tick_s=1.0, places=10)
    entries = [Entry() for _ in range(9)]
    for number, entry in enumerate(entries):
        wheel.schedule(entry, float(number))
    assert wheel.advance(1_000_000.0) == entries


def test_who_was_discarded_is_not_woken() -> None:
    wheel: TimingWheel[Entry] = TimingWheel(0.0)
    entry = Entry()
    wheel.schedule(entry, 1.0)
    wheel.discard(entry)
    wheel.discard(entry)
    assert wheel.advance(2.0) == []


def test_one_who_is_woken_can_be_scheduled_again() -> None:
    wheel: TimingWheel[Entry] = TimingWheel(0.0)
    entry = Entry()
    wheel.schedule(entry, 1.0)
    assert wheel.advance(1.5) == [entry]
    wheel.schedule(entry, 2.0)
    assert wheel.advance(2.25) == [entry]
