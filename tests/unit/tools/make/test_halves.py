"""Both halves of the tests as one run: its exit code, its last line, and that Ctrl-C ends both."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.make.halves import NO_TESTS, last_line, together

ROOT = Path(__file__).resolve().parents[4]
TEST = """
import os, pathlib, time, pytest
@pytest.mark.e2e
def test_real():
    assert os.environ["TIDINGS_X_PART"] == "1"
    {real}
def test_other():
    assert os.environ["TIDINGS_X_PART"] == "0"
    {other}
"""
IN_THE_BACKGROUND = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")  # there a script's shell has Ctrl-C ignored
SETTINGS = '[tool.pytest.ini_options]\nmarkers = ["integration: x", "e2e: x", "chaos: x"]\n'


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((0, 0), 0), ((1, 0), 1), ((0, 2), 2), ((NO_TESTS, 0), 0), ((0, NO_TESTS), 0), ((NO_TESTS, NO_TESTS), NO_TESTS),
     ((NO_TESTS, 1), 1), ((-9, 0), 9)],
)  # fmt: skip
def test_one_exit_code_of_two(codes: tuple[int, int], expected: int) -> None:
    assert together(codes) == expected


def test_the_last_line_adds_both_up() -> None:
    first = "…\n\x1b[32m===== \x1b[1m3 passed\x1b[0m, 1 skipped, 9 deselected in 62.00s (0:01:02) =====\x1b[0m\n"
    second = "…\n==== 1 failed, 4 passed, 9 deselected in 2.00s ====\n"
    assert last_line((first, second), 63.5).strip("= ") == "7 passed, 1 skipped, 1 failed in 63.50s (0:01:03)"


def test_a_half_without_an_end_is_told() -> None:
    assert "1 without an end" in last_line(("== 1 passed in 1.00s ==", "Killed"), 2)


def halves(folder: Path, real: str, other: str, *, started_by: Sequence[str] = ()) -> subprocess.Popen[str]:
    (folder / "pyproject.toml").write_text(SETTINGS)
    (folder / "test_it.py").write_text(TEST.format(real=real, other=other))
    return subprocess.Popen(
        [*started_by, sys.executable, "-m", "tools.make.halves", "test_it.py"],
        cwd=folder, text=True, stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_what_fails_on_real_backends_is_shown_with_all_that_was_said(tmp_path: Path) -> None:
    run = halves(tmp_path, "assert 1 == 2, 'as seen'", "pass")
    shown = run.communicate(timeout=120)[0]
    assert run.returncode == 1
    assert "as seen" in shown
    assert shown.splitlines()[-1].strip("= ").startswith("1 passed, 1 failed in ")


@pytest.mark.parametrize("started_by", [(), IN_THE_BACKGROUND], ids=["in front", "in the background"])
def test_an_interrupt_ends_both_in_order(tmp_path: Path, started_by: Sequence[str]) -> None:
    wait = "pathlib.Path(os.environ['TIDINGS_X_PART']).touch(); time.sleep(100)"
    run = halves(tmp_path, wait, wait, started_by=started_by)
    deadline = time.monotonic() + 100
    while not all((tmp_path / part).exists() for part in "01"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    shown = run.communicate(timeout=100)[0]
    assert run.returncode == 2
    assert len([line for line in shown.splitlines() if re.fullmatch(r"!+ \S*KeyboardInterrupt !+", line)]) == 2
