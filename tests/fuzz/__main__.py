"""`make fuzz`: atheris on each target for a while, from the corpus that is kept beside this file.

    python -m tests.fuzz --seconds 60                 all targets, one after the other
    python -m tests.fuzz --target text --seconds 600  one of them
    python -m tests.fuzz --target text --keep         the smallest of what covered something new goes into the corpus

What does harm is written to build/fuzz/TARGET and shown; put it into the corpus with the mend, as its test.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build/fuzz")
INPUT_BYTES_MAX = 4096
KEPT_MAX = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--target", help="only this one")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add what covers something new to the corpus")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return _fuzz(given.target, given.rest)
    from tests.fuzz.targets import TARGETS

    if given.target and given.target not in TARGETS:
        parser.error(f"there is no target {given.target!r}: say one of {', '.join(TARGETS)}")
    failed = [name for name in TARGETS if given.target in (None, name) and not _run(name, given.seconds, given.keep)]
    for name in failed:
        sys.stderr.write(f"{name}: something does harm; it is in {FOUND / name}\n")
    return 1 if failed else 0


def _run(name: str, seconds: int, keep: bool) -> bool:
    """libFuzzer ends its process, so each target has one of its own. Whether nothing does harm."""
    from tests.fuzz.targets import seeds

    kept, found = CORPUS / name, FOUND / name
    kept.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds()[name]):
            (Path(folder) / f"seed-{number}").write_bytes(data)
        fresh = Path(folder) / "fresh"
        fresh.mkdir()
        command = [sys.executable, "-m", "tests.fuzz", "--inside", "--target", name, "--"]
        limits = [f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", f"-artifact_prefix={found}/"]
        quiet = ["-verbosity=0", "-print_final_stats=1"]
        print(f"{name}: {seconds} s", flush=True)  # noqa: T201
        outcome = subprocess.run([*command, *limits, *quiet, str(fresh), str(kept), folder], check=False)
        if keep and not outcome.returncode:
            _keep(Path(folder), fresh, kept)
    return not outcome.returncode


def _keep(seeds: Path, fresh: Path, kept: Path) -> None:
    """The seeds, and the smallest of what covered something new."""
    small = sorted(fresh.iterdir(), key=lambda file: file.stat().st_size)[:KEPT_MAX]
    for file in [*seeds.glob("seed-*"), *small]:
        data = file.read_bytes()
        (kept / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def _fuzz(name: str, arguments: list[str]) -> int:
    import atheris

    with atheris.instrument_imports(include=["services", "jwt", "picows", "msgspec"]):
        from tests.fuzz.targets import TARGETS

    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
