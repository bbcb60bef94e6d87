"""`python -m tests.histories`: what clients did, judged by a checker that nobody here wrote (Porcupine).

    --seeds N       so many seeds of the simulation, which must be linearizable       --from S   the first one (0)
    --mutations     each deliberate defect that breaks the log (G1 to G4), which must be found within --seeds
    --chaos FOLDER  the histories of chaos cases that lie there (build/chaos/histories)

Exit code 0: nothing in what the real code did, everything in what the defects did. A conversation that is not
linearizable gets a page with a picture in build/histories.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import record
from tests.chaos.verdict import translated
from tests.histories.operations import encoded
from tools.cli.failure import Failure
from tools.make.go_program import GoProgram

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("judge")
VERSION = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCE.iterdir()))).hexdigest()[:12]
JUDGE = GoProgram("judge", VERSION, source=SOURCE)
# The deliberate defects of the simulation that break the log of a conversation; the others break inboxes and pages.
BREAK_THE_LOG = ("acknowledge_before_the_write", "no_unique_client_id", "no_unique_number")
PICTURES = ROOT / "build" / "histories"
PATIENCE = "60s"
# In a history that is wrong, some conversations take for ever to decide, and one that is decided is enough.
PATIENCE_WITH_DEFECTS = "5s"
STEP = 3


@dataclass(frozen=True, slots=True)
class Judgement:
    """`lines`: a line for each conversation that is not linearizable, or was not decided; then one that counts."""

    lines: Sequence[str]

    @property
    def clean(self) -> bool:
        return len(self.lines) == 1

    @property
    def illegal(self) -> int:
        return sum(line.endswith(": Illegal") for line in self.lines)


def judged(operations: Path, patience: str = PATIENCE, pictures: Path | None = None) -> Judgement:
    """What Porcupine says of a file of operations. Raises Failure."""
    command = [str(JUDGE.fetch(os.environ)), "-patience", patience]
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        command += ["-pictures", str(pictures)]
    with operations.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise Failure(f"the histories could not be judged: {done.stderr.strip()}")
    return Judgement(done.stdout.splitlines())


def simulated(first: int, seeds: int, operations: Path, mutation: str = "") -> None:
    """What the clients of these seeds do. Whether the simulation's own checker likes it is asked elsewhere."""
    command = [sys.executable, "-m", "tests.simulation", "--from", str(first), "--seeds", str(seeds)]
    command += [
        "--ledger",
        os.devnull,
        "--operations",
        str(operations),
        *(["--mutation", mutation] if mutation else []),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1} or not operations.exists():
        raise Failure(f"the simulation did not run: {(done.stderr or done.stdout).strip()[-500:]}")


def judge_seeds(first: int, seeds: int) -> Iterator[str]:
    """What is wrong in what the real code did."""
    with tempfile.TemporaryDirectory() as folder:
        operations = Path(folder) / "operations.jsonl"
        simulated(first, seeds, operations)
        judgement = judged(operations, pictures=PICTURES)
        _say(f"{seeds} seeds: {judgement.lines[-1]}")
        yield from judgement.lines[:-1]


def judge_mutation(mutation: str, first: int, seeds: int) -> Iterator[str]:
    """What is wrong: the defect was not found."""
    for start in range(first, first + seeds, STEP):
        with tempfile.TemporaryDirectory() as folder:
            operations = Path(folder) / "operations.jsonl"
            simulated(start, min(STEP, first + seeds - start), operations, mutation)
            judgement = judged(operations, PATIENCE_WITH_DEFECTS)
        if judgement.illegal:
            _say(f"{mutation}: found; {judgement.lines[0]}")
            return
    yield f"{mutation} was not found in {seeds} seeds"


def judge_chaos(folder: Path) -> Iterator[str]:
    """What is wrong in what the clients of real clusters did."""
    paths = sorted(folder.glob(f"*/{record.NAME}"))
    if not paths:
        yield f"there are no histories in {folder}: run `make chaos` first"
    for path in paths:
        with tempfile.TemporaryDirectory() as work:
            operations = Path(work) / "operations.jsonl"
            operations.write_bytes(b"".join(encoded(path.parent.name, translated(record.read(path)))))
            judgement = judged(operations, pictures=PICTURES)
        _say(f"{path.parent.name}: {judgement.lines[-1]}")
        yield from judgement.lines[:-1]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description="Judges histories by Porcupine.")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--mutations", action="store_true")
    parser.add_argument("--chaos", type=Path)
    given = parser.parse_args(arguments)
    wrong: list[str] = []
    try:
        if given.chaos is not None:
            wrong += judge_chaos(given.chaos)
        elif given.mutations:
            for mutation in BREAK_THE_LOG:
                wrong += judge_mutation(mutation, given.first, given.seeds)
        else:
            wrong += judge_seeds(given.first, given.seeds)
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return failure.code
    _say(*wrong)
    return 1 if wrong else 0


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
