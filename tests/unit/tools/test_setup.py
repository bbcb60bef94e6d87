"""Which Python `make setup` takes: the fastest of those that the locked packages are made for, found out once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.make import pace

ROOT = Path(__file__).resolve().parents[3]
FILES = ("tools/setup.sh", "tools/make/pace.py", "requirements-dev.lock", "pyproject.toml", "client/pyproject.toml")

# It tells a time without a loop, and makes an environment whose Python is content with everything.
FAKE = """#!/bin/sh
case "$*" in
*"pace.py where") {where} ;;
*"pace.py time") echo timed >>"$0.log"; echo {microseconds} ;;
"-m venv"*) mkdir -p .venv/bin; cp {content} .venv/bin/python; rm -f .venv/.tidings-*; echo made >>"$0.log" ;;
--version) echo "Python 3.12.{number}" ;;
esac
"""
CONTENT = "#!/bin/sh\nexit 0\n"


class Machine:
    """A copy of what set-up reads, and a PATH with fake Pythons ahead of the machine's own."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.path = [folder / "first", folder / "second"]
        for name in FILES:
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.project / name)
        self._home = folder / "home"
        self._content = folder / "content"
        self._write(self._content, CONTENT)
        for place in (*self.path, self._home):
            place.mkdir()

    def python(self, place: Path, microseconds: int, *, real: str = "", name: str = "python3") -> Path:
        """A fake one; `real`: what it is called really, or `exit 1`: the packages are not made for it."""
        where = real if real == "exit 1" else f"echo {real or place / name}"
        fake = place / name
        text = FAKE.format(where=where, microseconds=microseconds, content=self._content, number=len(str(place)))
        self._write(fake, text)
        return fake

    def pyenv(self, version: str, microseconds: int) -> Path:
        place = self._home / ".pyenv" / "versions" / version / "bin"
        place.mkdir(parents=True)
        return self.python(place, microseconds)

    def set_up(self, **variables: str) -> list[str]:
        """What it says."""
        path = os.pathsep.join([*map(str, self.path), "/usr/bin", "/bin"])
        done = subprocess.run(
            ["sh", "tools/setup.sh"], cwd=self.project, env={"PATH": path, "HOME": str(self._home), **variables},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def done_by(python: Path) -> list[str]:
    log = Path(f"{python}.log")
    return log.read_text().split() if log.exists() else []


def test_the_fastest_is_taken_and_said_in_one_line(machine: Machine) -> None:
    slow = machine.python(machine.path[0], 2000)
    fast = machine.python(machine.path[1], 1000)
    said = machine.set_up()
    assert done_by(fast) == ["timed", "made"]
    assert done_by(slow) == ["timed"]
    (line,) = [line for line in said if "fastest" in line]
    assert f"{slow} 2 ms, {fast} 1 ms" in line
    assert line.endswith(f"The fastest is taken: {fast}")


def test_those_of_pyenv_are_found_though_they_are_not_on_path(machine: Machine) -> None:
    machine.python(machine.path[0], 2000)
    fast = machine.pyenv("3.12.1", 1000)
    machine.set_up()
    assert done_by(fast) == ["timed", "made"]


def test_of_two_that_are_as_fast_the_first_on_path_is_taken(machine: Machine) -> None:
    first = machine.python(machine.path[0], 1000)
    machine.python(machine.path[1], 980)
    machine.set_up()
    assert done_by(first) == ["timed", "made"]


def test_it_is_asked_once(machine: Machine) -> None:
    slow = machine.python(machine.path[0], 2000)
    fast = machine.python(machine.path[1], 1000)
    machine.set_up()
    assert machine.set_up() == []
    (machine.project / ".venv" / "bin" / "python").unlink()
    said = machine.set_up()
    assert not [line for line in said if "fastest" in line]
    assert done_by(fast) == ["timed", "made", "made"]
    assert done_by(slow) == ["timed"]


def test_an_environment_that_is_there_is_not_made_again_for_a_faster_one(machine: Machine) -> None:
    machine.python(machine.path[0], 2000)
    machine.set_up()
    faster = machine.python(machine.path[1], 10)
    machine.set_up()
    assert done_by(faster) == []


def test_what_python_names_is_taken_untimed(machine: Machine) -> None:
    named = machine.python(machine.path[0], 2000, name="other-python")
    fast = machine.python(machine.path[1], 1000)
    said = machine.set_up(PYTHON=str(named))
    assert done_by(named) == ["made"]
    assert done_by(fast) == []
    assert not [line for line in said if "fastest" in line]


def test_one_that_python_names_and_that_does_not_do_is_said_and_another_taken(machine: Machine) -> None:
    fast = machine.python(machine.path[0], 10)
    said = machine.set_up(PYTHON="/nowhere/python3")
    assert any("Not suitable" in line and "/nowhere/python3" in line for line in said)
    assert done_by(fast)[-1] == "made"


def test_one_that_the_locked_packages_are_not_made_for_is_not_taken(machine: Machine) -> None:
    other = machine.python(machine.path[0], 10, real="exit 1")
    fast = machine.python(machine.path[1], 1000)
    machine.set_up()
    assert done_by(other) == []
    assert done_by(fast) == ["timed", "made"]


def test_one_python_with_several_names_is_timed_once(machine: Machine) -> None:
    one = machine.python(machine.path[0], 1000, real="/one")
    same = machine.python(machine.path[1], 1000, real="/one")
    machine.set_up()
    assert done_by(one) == ["timed", "made"]
    assert done_by(same) == []


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
    assert pace.is_supported(version, implementation, flags) is supported


def test_a_python_tells_its_path_and_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert pace.main(["where"]) == 0
    assert capsys.readouterr().out.strip() == str(Path(sys.executable).resolve())
    assert pace.microseconds(1000) > 0


def test_setup_is_plain_posix_shell() -> None:
    text = (ROOT / "tools" / "setup.sh").read_text()
    assert not re.search(r"\[\[|^ *local |<<<|^ *function |\$'", text, re.MULTILINE)
    subprocess.run(["sh", "-n", "tools/setup.sh"], cwd=ROOT, check=True)
