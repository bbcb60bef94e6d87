"""Which of the machine's Pythons is the fastest, and that each is asked and timed as it is to be."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tools.make import fastest_python
from tools.make.fastest_python import TURNS, Python, choice, is_supported, places, reason, suitable, timed

OLD = Python("/usr/bin/python3", "/usr/bin/python3.11", (3, 11, 2))
NEW = Python("/opt/bin/python3", "/opt/bin/python3.12", (3, 12, 1))
OTHER_NEW = Python("/home/bin/python3", "/home/bin/python3.12", (3, 12, 1))


class Machine:
    """Pythons by their paths: what each tells about itself, and how long its rounds take, one after the other."""

    def __init__(self, abouts: Mapping[str, Python], rounds: Mapping[str, list[int | None]] | None = None) -> None:
        self._abouts = abouts
        self._rounds = {path: iter(took) for path, took in (rounds or {}).items()}
        self.asked: list[tuple[str, str]] = []

    def ask(self, path: str, what: str) -> str | None:
        self.asked.append((path, what))
        if what == "round":
            took = next(self._rounds[path])
            return None if took is None else str(took)
        about = self._abouts.get(path)
        if about is None:
            return None
        return json.dumps({"path": about.path, "real": about.real, "version": about.version})


def test_the_fastest_is_chosen_though_it_is_older() -> None:
    assert choice({NEW: 1000, OLD: 900}) is OLD


def test_of_those_that_are_as_fast_as_the_fastest_the_newest_is_chosen() -> None:
    assert choice({OLD: 1000, NEW: 1030}) is NEW
    assert choice({OLD: 1000, NEW: 1031}) is OLD


def test_of_one_version_that_is_as_fast_the_first_that_was_found_is_chosen() -> None:
    assert choice({NEW: 1000, OTHER_NEW: 990}) is NEW
    assert choice({OTHER_NEW: 1000, NEW: 990}) is OTHER_NEW


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (
            {NEW: 30_000, OLD: 20_000},
            (
                "Python 3.11.2 (/usr/bin/python3) is taken, the fastest here: a loop takes it 20.0 ms; "
                "3.12.1 (/opt/bin/python3) 30.0 ms."
            ),
        ),
        (
            {OLD: 20_000, NEW: 20_200},
            (
                "Python 3.12.1 (/opt/bin/python3) is taken, the newest of the fastest here: a loop takes it 20.2 ms; "
                "3.11.2 (/usr/bin/python3) 20.0 ms."
            ),
        ),
        ({OLD: 0}, "Python 3.11.2 (/usr/bin/python3) is taken: no other one here suits."),
    ],
)
def test_one_line_says_which_is_taken_and_why(times: Mapping[Python, int], said: str) -> None:
    assert reason(times) == said


def test_rounds_are_taken_in_turn_and_the_best_counts() -> None:
    machine = Machine({}, {OLD.path: [9, 7, 8, 9, 9], NEW.path: [5, 6, 6, 6, 4]})
    assert timed([OLD, NEW], machine.ask) == {OLD: 7, NEW: 4}
    assert machine.asked == [(OLD.path, "round"), (NEW.path, "round")] * TURNS


def test_one_that_fails_a_round_has_the_others_and_one_that_fails_all_is_left_out() -> None:
    machine = Machine({}, {OLD.path: [None] * TURNS, NEW.path: [5, None, 6, 6, 4]})
    assert timed([OLD, NEW], machine.ask) == {NEW: 4}


def test_a_single_one_is_not_timed() -> None:
    machine = Machine({})
    assert list(timed([OLD], machine.ask)) == [OLD]
    assert not machine.asked


def test_one_python_with_several_names_is_found_once_and_one_that_does_not_suit_not_at_all() -> None:
    machine = Machine({"/shims/python3": OLD, "/bin/python3": OLD, "/opt/bin/python3": NEW})
    paths = ["/shims/python3", "/bin/python3", "/old/python3", "/opt/bin/python3"]
    assert suitable(paths, machine.ask) == [OLD, NEW]
    assert [path for path, _ in machine.asked] == paths


def test_links_to_one_file_are_asked_once(tmp_path: Path) -> None:
    (tmp_path / "python3.12").touch()
    (tmp_path / "python3").symlink_to("python3.12")
    machine = Machine({})
    suitable([str(tmp_path / "python3"), str(tmp_path / "python3.12")], machine.ask)
    assert Counter(machine.asked) == {(str(tmp_path / "python3"), "about"): 1}


def test_they_are_looked_for_on_path_and_where_pyenv_and_uv_put_them(tmp_path: Path) -> None:
    wanted = ["first/python3", "first/python3.12", "second/python3.11",
              ".pyenv/versions/3.12.1/bin/python3", ".local/share/uv/python/cpython-3.13/bin/python3"]  # fmt: skip
    for name in [*wanted, "first/python2"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    (tmp_path / "second" / "python3.13").touch(mode=0o644)
    path_variable = os.pathsep.join(str(tmp_path / folder) for folder in ("first", "second"))
    found = list(places({"PATH": path_variable, "HOME": str(tmp_path)}))
    assert [path for path in found if path.startswith(str(tmp_path))] == [str(tmp_path / name) for name in wanted]


@pytest.mark.parametrize(
    ("version", "implementation", "flags", "supported"),
    [
        ((3, 10), "CPython", "", False),
        ((3, 11), "CPython", "", True),
        ((3, 14), "CPython", "", True),
        ((3, 14), "CPython", "t", False),
        ((3, 15), "CPython", "", False),
        ((3, 11), "PyPy", "", False),
    ],
)
def test_the_locked_packages_are_made_for_these(
    version: tuple[int, int], implementation: str, flags: str, supported: bool
) -> None:
    assert is_supported(version, implementation, flags) is supported


def test_a_python_tells_of_that_which_its_environment_was_made_with_and_runs_a_round() -> None:
    (found,) = suitable([sys.executable], fastest_python.ask)
    assert found.version == sys.version_info[:3]
    assert Path(found.real) == Path(sys.executable).resolve()
    assert fastest_python.one_round(steps=1000) > 0
    assert int(fastest_python.ask(sys.executable, "round") or 0) > 0


def test_what_is_no_python_does_not_answer() -> None:
    assert fastest_python.ask("/nowhere/python3", "about") is None
    assert fastest_python.ask("false", "about") is None
