"""Which Python `make setup` makes the environment with: what PYTHON names, else the fastest, which it asks for once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILES = (
    "tools/setup.sh",
    "tools/make/fastest_python.py",
    "requirements-dev.lock",
    "pyproject.toml",
    "client/pyproject.toml",
)

# It says which is the fastest, and makes an environment whose Python is content with everything.
FAKE = """#!/bin/sh
case "$*" in
*"fastest_python.py about") {about} ;;
*"fastest_python.py") echo asked >>"$0.log"; {fastest} ;;
"-m venv"*) mkdir -p .venv/bin; cp {content} .venv/bin/python; rm -f .venv/.tidings-*; echo made >>"$0.log" ;;
--version) echo "Python 3.12.1" ;;
esac
"""
CONTENT = "#!/bin/sh\nexit 0\n"


class Machine:
    """A copy of what set-up reads, and a PATH with fake Pythons ahead of the machine's own."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self._bin = folder / "bin"
        self._home = folder / "home"
        self._content = folder / "content"
        for name in FILES:
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.project / name)
        self._write(self._content, CONTENT)
        self._bin.mkdir()

    def python(self, name: str = "python3", *, says: Path | str = "exit 1", suits: bool = True) -> Path:
        """A fake one on PATH. `says`: which is the fastest; it fails unless it is told."""
        fastest = f"echo {says}; echo {says} is the fastest >&2" if isinstance(says, Path) else says
        fake = self._bin / name
        self._write(fake, FAKE.format(about="exit 0" if suits else "exit 1", fastest=fastest, content=self._content))
        return fake

    def forget_environment(self) -> None:
        """What it was made with is gone, so that it does not run."""
        (self.project / ".venv" / "bin" / "python").unlink()

    def set_up(self, **variables: str) -> list[str]:
        """What it says."""
        path = os.pathsep.join([str(self._bin), "/usr/bin", "/bin"])
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


def test_the_fastest_is_taken_and_the_line_about_it_is_seen(machine: Machine) -> None:
    fast = machine.python("fast-python")
    first = machine.python(says=fast)
    said = machine.set_up()
    assert done_by(first) == ["asked"]
    assert done_by(fast) == ["made"]
    assert said[0] == f"{fast} is the fastest"


def test_the_first_that_suits_is_taken_where_the_fastest_is_not_found_out(machine: Machine) -> None:
    machine.python(suits=False)
    first = machine.python("python3.14", says="exit 1")
    machine.set_up()
    assert done_by(first) == ["asked", "made"]


def test_it_is_asked_for_once_also_if_the_environment_has_to_be_made_again(machine: Machine) -> None:
    fast = machine.python("fast-python")
    first = machine.python(says=fast)
    machine.set_up()
    assert machine.set_up() == []
    machine.forget_environment()
    machine.set_up()
    assert done_by(first) == ["asked"]
    assert done_by(fast) == ["made", "made"]


def test_it_is_asked_for_again_once_what_was_found_does_not_suit_any_more(machine: Machine) -> None:
    fast = machine.python("fast-python")
    first = machine.python(says=fast)
    machine.set_up()
    machine.forget_environment()
    fast.unlink()
    first = machine.python(says=machine.python("other-python"))
    machine.set_up()
    assert done_by(first) == ["asked", "asked"]


def test_an_environment_that_is_there_stays(machine: Machine) -> None:
    first = machine.python()
    machine.set_up()
    machine.python("python3", says=machine.python("faster-python"))
    machine.set_up()
    assert done_by(first) == ["asked", "made"]


def test_what_python_names_is_taken_without_a_question(machine: Machine) -> None:
    named = machine.python("named-python")
    first = machine.python(says=machine.python("fast-python"))
    machine.set_up(PYTHON=str(named))
    assert done_by(named) == ["made"]
    assert done_by(first) == []


def test_one_that_python_names_and_that_does_not_suit_is_said_and_another_taken(machine: Machine) -> None:
    fast = machine.python("fast-python")
    machine.python(says=fast)
    said = machine.set_up(PYTHON="/nowhere/python3")
    assert any("Not suitable" in line and "/nowhere/python3" in line for line in said)
    assert done_by(fast) == ["made"]


def test_setup_is_plain_posix_shell() -> None:
    text = (ROOT / "tools" / "setup.sh").read_text()
    assert not re.search(r"\[\[|^ *local |<<<|^ *function |\$'", text, re.MULTILINE)
    subprocess.run(["sh", "-n", "tools/setup.sh"], cwd=ROOT, check=True)
