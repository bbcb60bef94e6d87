"""What waits for Kafka: bounded, pushes for seconds only."""

from __future__ import annotations

from services.common.bus.contract import Record
from services.logic.publishing.backlog import Backlog, PendingRecord


def push(name: str, since_s: float = 0.0, size: int = 100) -> PendingRecord:
    return PendingRecord(Record("tidings.deliver", name.encode().ljust(size - 200, b".")), False, since_s)


def event(name: str, since_s: float = 0.0, size: int = 300) -> PendingRecord:
    return PendingRecord(Record("tidings.events", name.encode().ljust(size - 200, b".")), True, since_s)


def names(waiting: list[PendingRecord]) -> list[str]:
    return [each.record.value.rstrip(b".").decode() for each in waiting]


def test_pushes_come_first_and_each_kind_in_its_order() -> None:
    backlog = Backlog(10_000, 10.0)
    backlog.add([event("e1"), push("p1"), event("e2"), push("p2")], 0.0)
    taken, dropped = backlog.take(10, 10_000, 1.0)
    assert names(taken) == ["p1", "p2", "e1", "e2"]
    assert dropped == []
    assert backlog.size == 0
    assert len(backlog) == 0


def test_a_push_that_grew_old_is_dropped_an_event_is_not() -> None:
    backlog = Backlog(10_000, 10.0)
    backlog.add([push("p1", 0.0), push("p2", 5.0), event("e1", 0.0)], 5.0)
    taken, dropped = backlog.take(10, 10_000, 12.0)
    assert names(taken) == ["p2", "e1"]
    assert names(dropped) == ["p1"]


def test_over_the_limit_pushes_go_first_then_the_oldest_events() -> None:
    backlog = Backlog(700, 10.0)
    assert names(backlog.add([event("e1"), event("e2"), push("p1", size=250)], 0.0)) == ["p1"]
    assert names(backlog.add([event("e3")], 0.0)) == ["e1"]
    assert backlog.size == 600


def test_with_no_room_at_all_nothing_is_kept() -> None:
    backlog = Backlog(0, 10.0)
    assert names(backlog.add([event("e1")], 0.0)) == ["e1"]
    assert len(backlog) == 0


def test_what_is_taken_is_bounded_by_number_and_bytes() -> None:
    backlog = Backlog(10_000, 10.0)
    backlog.add([event(f"e{number}") for number in range(5)], 0.0)
    assert names(backlog.take(2, 10_000, 0.0)[0]) == ["e0", "e1"]
    assert names(backlog.take(10, 400, 0.0)[0]) == ["e2", "e3"]


def test_what_is_given_back_is_next_again() -> None:
    backlog = Backlog(10_000, 10.0)
    backlog.add([push("p1"), event("e1"), event("e2")], 0.0)
    taken, _ = backlog.take(2, 10_000, 0.0)
    backlog.give_back(taken, 0.0)
    assert names(backlog.take(10, 10_000, 0.0)[0]) == ["p1", "e1", "e2"]
