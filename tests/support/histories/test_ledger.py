"""The file of simulated seeds: added to, read back, counted."""

from __future__ import annotations

from pathlib import Path

from tests.support.histories.ledger import Ran, add, caught, read, version, whole


def test_the_last_word_on_a_seed_counts(tmp_path: Path) -> None:
    file = tmp_path / "build" / "simulation.jsonl"
    failed, mended = Ran(7, "abc", 10, 1.5, broke=("G1",)), Ran(7, "def", 12, 1.5)
    other, mutated = Ran(3, "abc", 9, 1.0), Ran(7, "abc", 10, 1.5, "no_unique_number", ("G4",))
    for ran in (failed, other, mutated, mended):
        add(file, ran)
    assert read(file) == [other, mended, mutated]
    assert whole(read(file)) == [other, mended]


def test_a_mutation_is_caught_by_the_first_seed_that_breaks_a_promise() -> None:
    first, second = Ran(0, "abc", 1, 1.0, "m"), Ran(1, "abc", 1, 1.0, "m", ("G1",))
    later = Ran(2, "abc", 1, 1.0, "m", ("G3",))
    assert caught([first, second, later]) == {"m": (second, 2)}
    assert caught([first]) == {"m": (None, 1)}
    assert caught([Ran(0, "abc", 1, 1.0)]) == {}


def test_without_git_there_is_no_version(tmp_path: Path) -> None:
    assert version(tmp_path) == ""
