"""The fastest of the machine's Pythons, which `make setup` makes the environment with.

    python -I tools/make/fastest_python.py         the path of the fastest; on standard error, one line that says why
    python -I tools/make/fastest_python.py about   the Python that runs it, as JSON: path, real path, version
    python -I tools/make/fastest_python.py round   the microseconds of processor that a loop took it

`about` ends with 1 where the locked packages are not made for that Python, or it makes no environments. One that was
built with profile-guided optimization is faster by a tenth and more, and nothing but the time tells.

Guarantees: processor time is compared, the best of rounds that were taken in turn, so that other work on the machine
counts little. What takes at most `TIE` of the best time is as fast; of those the newest is taken, of one version the
first that was found.
Does not know: what the services do. The loop does what they do most: calls, attributes, dictionaries, small objects.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

SUPPORTED = ((3, 11), (3, 14))
NAMES = ("python3", "python3.14", "python3.13", "python3.12", "python3.11", "python")
TIE = 1.03
TURNS = 5
LOOPS = 3  # of one round, the best of which counts
STEPS = 50_000  # of one loop: some 30 ms
ANSWER_S = 30.0  # to be given up after


Ask = Callable[[str, str], str | None]


@dataclass(frozen=True)
class Python:
    path: str
    real: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.version))} ({self.path})"


# ---- what the fastest is


def main(arguments: Sequence[str]) -> int:
    match list(arguments):
        case []:
            return _tell_fastest()
        case ["about"]:
            sys.stdout.write(json.dumps(_about()))
            return 0 if _suits() else 1
        case ["round"]:
            sys.stdout.write(str(one_round()))
            return 0
        case _:
            sys.stderr.write(f"{__doc__}")
            return 2


def _tell_fastest() -> int:
    pythons = suitable(places(os.environ), ask)
    times = timed(pythons, ask)
    if not times:
        return 1
    sys.stderr.write(f"{reason(times)}\n")
    sys.stdout.write(f"{choice(times).path}\n")
    return 0


def choice(times: Mapping[Python, int]) -> Python:
    """The newest of those that are as fast as the fastest. `times`: microseconds, in the order they were found."""
    best = min(times.values())
    return max((python for python, took in times.items() if took <= best * TIE), key=lambda python: python.version)


def reason(times: Mapping[Python, int]) -> str:
    """One line: which is taken, and how long each took."""
    chosen = choice(times)
    if len(times) == 1:
        return f"Python {chosen} is taken: no other one here suits."
    others = [f"{python} {_ms(took)}" for python, took in times.items() if python is not chosen]
    why = "the fastest here" if times[chosen] == min(times.values()) else "the newest of the fastest here"
    return f"Python {chosen} is taken, {why}: a loop takes it {_ms(times[chosen])}; {', '.join(others)}."


def timed(pythons: Sequence[Python], ask: Ask) -> dict[Python, int]:
    """The best of some rounds, which they take in turn; a single one needs no round. Who fails is left out."""
    if len(pythons) == 1:
        return dict.fromkeys(pythons, 0)
    rounds: dict[Python, list[int]] = {python: [] for python in pythons}
    for _ in range(TURNS):
        for python, took in rounds.items():
            answer = ask(python.path, "round")
            if answer is not None:
                took.append(int(answer))
    return {python: min(took) for python, took in rounds.items() if took}


# ---- which there are


def places(environment: Mapping[str, str]) -> Iterator[str]:
    """Paths of Pythons: on PATH, where systems, pyenv and uv put them."""
    home = Path(environment.get("HOME", ""))
    for folder in [*environment.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin"]:
        for name in NAMES:
            path = Path(folder, name)
            if os.access(path, os.X_OK):
                yield str(path)
    for versions in (
        Path(environment.get("PYENV_ROOT") or home / ".pyenv", "versions"),
        home / ".local/share/uv/python",
    ):
        yield from map(str, sorted(versions.glob("*/bin/python3")))


def suitable(paths: Iterable[str], ask: Ask) -> list[Python]:
    """Each of them once, whatever it is called."""
    files: dict[str, str] = {}
    for path in paths:
        files.setdefault(os.path.realpath(path), path)
    found: dict[str, Python] = {}
    for path in files.values():
        if (told := ask(path, "about")) is not None:
            about = json.loads(told)
            found.setdefault(about["real"], Python(about["path"], about["real"], tuple(about["version"])))
    return list(found.values())


def is_supported(version: tuple[int, int], implementation: str, flags: str) -> bool:
    """Whether the locked packages are made for such a Python; `flags`: as in sys.abiflags."""
    oldest, newest = SUPPORTED
    return implementation == "CPython" and "t" not in flags and oldest <= version <= newest


def ask(path: str, what: str) -> str | None:
    """What that Python answers; None: it fails."""
    try:
        done = subprocess.run(
            [path, "-I", __file__, what], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=ANSWER_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def _suits() -> bool:
    makes_environments = all(find_spec(module) is not None for module in ("venv", "ensurepip"))
    return makes_environments and is_supported(
        sys.version_info[:2], platform.python_implementation(), getattr(sys, "abiflags", "")
    )


def _about() -> Mapping[str, object]:
    """Of an environment: that of the Python it was made with."""
    path = getattr(sys, "_base_executable", sys.executable)
    return {"path": path, "real": os.path.realpath(path), "version": sys.version_info[:3]}


# ---- a round


class Entry:
    __slots__ = ("name", "number")

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number

    def follows(self, other: Entry | None) -> bool:
        return other is None or self.number > other.number


def one_round(steps: int = STEPS) -> int:
    return min(_loop(steps) for _ in range(LOOPS))


def _loop(steps: int) -> int:
    began = time.process_time_ns()
    last: dict[str, Entry] = {}
    for entry in _entries(steps):
        if entry.follows(last.get(entry.name)):
            last[entry.name] = entry
    return (time.process_time_ns() - began) // 1000


def _entries(steps: int) -> Iterator[Entry]:
    for number in range(steps):
        yield Entry(f"name-{number & 1023}", number)


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:.1f} ms"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
