"""What was simulated so far: a file of JSON lines, one for each seed, that runs add to, also side by side.

Guarantees: of a seed that was run again the last line counts; a run that was interrupted leaves what it had done.
Does not know: what a seed does.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

LEDGER = Path("build/simulation.jsonl")
SIMULATED = ("services", "protos", "client", "tests/simulation")


class Ran(msgspec.Struct, frozen=True, omit_defaults=True):
    """One seed, with the promises that it broke. `code`: the version of the code, as git tells it."""

    seed: int
    code: str
    acknowledged: int
    took_s: float
    mutation: str = ""
    broke: tuple[str, ...] = ()


def add(path: Path, ran: Ran) -> None:
    """One short write to the end of the file: several processes may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        file.write(msgspec.json.encode(ran) + b"\n")


def read(path: Path) -> list[Ran]:
    """The last word on each seed, with and without each mutation, in the order of the seeds."""
    last: dict[tuple[str, int], Ran] = {}
    with path.open("rb") as file:
        for line in file:
            ran = msgspec.json.decode(line, type=Ran)
            last[ran.mutation, ran.seed] = ran
    return [last[key] for key in sorted(last)]


def whole(ran: Iterable[Ran]) -> list[Ran]:
    """Those without a mutation."""
    return [each for each in ran if not each.mutation]


def caught(ran: Iterable[Ran]) -> dict[str, tuple[Ran | None, int]]:
    """For each mutation that was tried: the first seed that found it, and how many seeds were tried up to it."""
    found: dict[str, tuple[Ran | None, int]] = {}
    for each in ran:
        first, tried = found.get(each.mutation, (None, 0))
        if each.mutation and first is None:
            found[each.mutation] = (each if each.broke else None, tried + 1)
    return found


def version(root: Path) -> str:
    """The commit of the code, with + if what is simulated differs from it; "" if git cannot tell."""
    commit = _git(root, "rev-parse", "--short=10", "HEAD")
    changed = _git(root, "status", "--porcelain", "--", *SIMULATED)
    return f"{commit}+" if changed and commit else commit


def _git(root: Path, *arguments: str) -> str:
    command: Sequence[str] = ("git", "-C", str(root), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
