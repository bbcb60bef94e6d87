"""How far a run is, and how long it takes yet."""

from __future__ import annotations

from services.common.clock import ManualClock
from services.storage.migrate import Progress
from services.storage.repository.mongo.migration import Step


def test_the_rate_and_the_time_left_follow_from_what_was_compared() -> None:
    clock = ManualClock()
    progress = Progress(clock, total=1000)
    clock.advance(2)
    progress.add(Step("messages", 100, 80, 3, b"x"))
    progress.add(Step("messages", 100, 0, 0, b"y"))
    assert progress.told() == {
        "compared": 200,
        "total": 1000,
        "copied": 80,
        "removed": 3,
        "rate_per_s": 100,
        "left_s": 8,
    }


def test_what_was_compared_before_counts_and_makes_this_run_no_faster() -> None:
    clock = ManualClock()
    progress = Progress(clock, total=1000, begun=500)
    clock.advance(1)
    progress.add(Step("messages", 100, 100, 0, b"x"))
    told = progress.told()
    assert (told["compared"], told["rate_per_s"], told["left_s"]) == (600, 100, 4)


def test_nothing_is_said_about_the_time_left_before_anything_was_compared() -> None:
    assert Progress(ManualClock(), total=1000).told()["left_s"] is None


def test_a_total_that_was_too_low_is_as_high_as_what_was_compared() -> None:
    clock = ManualClock()
    progress = Progress(clock, total=10)
    clock.advance(1)
    progress.add(Step("inbox", 15, 0, 0, b"x"))
    assert (progress.told()["total"], progress.told()["left_s"]) == (15, 0)
