"""The rules by which lanes are paced, by themselves."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.common.lanes.pacing import ROOM_MIN, TURN_MAX_S, next_batch, next_turn, room_after


@dataclass
class Lane:
    name: str
    count: int
    since_s: float = 0.0
    busy: bool = False
    waiting: deque[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = deque((None, None, self.since_s + n) for n in range(self.count))


def chosen(*lanes: Lane, under_way: int = 0) -> str:
    return "".join(lane.name for lane in next_batch(lanes, under_way=under_way, overlap_min=10))


def test_while_nothing_is_under_way_all_that_wait_go_together_the_oldest_first() -> None:
    assert chosen(Lane("a", 2, 5.0), Lane("b", 3, 1.0), Lane("c", 0), Lane("d", 1, busy=True)) == "ba"


def test_small_lanes_wait_while_a_batch_is_under_way() -> None:
    assert chosen(Lane("a", 2), Lane("b", 3), under_way=1) == ""


def test_a_large_lane_goes_beside_another_batch_alone() -> None:
    assert chosen(Lane("a", 10), Lane("b", 3, 5.0), under_way=1) == "a"
    assert chosen(Lane("a", 10), Lane("b", 10, 5.0)) == "a", "two large ones are two batches"
    assert chosen(Lane("a", 10), Lane("b", 3, 5.0)) == "ab"


def test_a_large_lane_does_not_overtake_a_small_one_that_waits_for_longer() -> None:
    assert chosen(Lane("a", 10, 5.0), Lane("b", 3, 1.0), under_way=1) == ""


def test_nothing_waits_and_nothing_goes() -> None:
    assert chosen(Lane("a", 0)) == ""


@pytest.mark.parametrize(
    ("count", "lanes", "took_s", "room"),
    [
        (100, 1, 1.0, 100),  # 100 a second, and half of two seconds
        (100, 2, 1.0, 50),
        (100, 1, 0.01, 500),  # never more than the capacity
        (100, 1, 60.0, ROOM_MIN),  # never fewer than these
        (ROOM_MIN // 2 - 1, 1, 60.0, 500),  # the pace of a small batch says nothing
        (100, 1, 0.0, 500),
    ],
)
def test_as_many_may_wait_as_are_answered_in_time(count: int, lanes: int, took_s: float, room: int) -> None:
    assert room_after(count, lanes, took_s, answer_s=2.0, capacity=500) == room


def test_without_a_time_for_the_answer_the_capacity_is_the_room() -> None:
    assert room_after(100, 1, 60.0, answer_s=None, capacity=500) == 500


def test_those_who_are_refused_get_turns_one_after_the_other() -> None:
    first = next_turn(100.0, waiting=10, item_s=0.1, promised_s=0.0)
    assert first == pytest.approx(101.0)
    assert next_turn(100.0, waiting=10, item_s=0.1, promised_s=first) == pytest.approx(101.1)


def test_no_turn_is_very_late() -> None:
    assert next_turn(100.0, waiting=10_000, item_s=1.0, promised_s=0.0) == 100.0 + TURN_MAX_S
