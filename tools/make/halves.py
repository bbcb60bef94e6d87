"""`python -m tools.make.halves [pytest's arguments]`: all tests, those on real backends beside the others.

The two halves are two pytest processes, which take a processor each. What the half without backends says is shown as it
comes. What the other one says goes to build/test-real.log, and is shown at the end: wholly if it failed, else its
summary. The last line adds both up, as pytest would have said it.

Guarantees: the exit code is 0 only if both halves passed. Ctrl-C reaches each half once, so that it ends what it has
started. Does not know: what the tests are.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

REAL = "integration or e2e or chaos"
LOG = Path("build/test-real.log")
NO_TESTS = 5  # pytest's exit code where nothing was collected
CHUNK_BYTES = 65536
SUMMARY_LINES = 16

_SUMMARY = re.compile(r"^=+ (.*) in [0-9.]+s(?: \([0-9:]+\))? =+$")
_COUNT = re.compile(r"(\d+) ([a-z]+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def main(arguments: Sequence[str]) -> int:
    LOG.parent.mkdir(exist_ok=True)
    began = time.monotonic()
    halves: list[subprocess.Popen[bytes]] = []
    _pass_on(halves)  # before they start: they would inherit a shell's order to ignore Ctrl-C, but no handler
    with LOG.open("wb") as log:
        halves.append(_start(f"not ({REAL})", 0, arguments, subprocess.PIPE))
        halves.append(_start(REAL, 1, arguments, log.fileno()))
    _say(f"The tests on real backends run beside these; they write to {LOG}.\n")
    shown = _show(halves[0])
    codes = [half.wait() for half in halves]
    told = LOG.read_text(errors="replace")
    _say(told if codes[1] not in (0, NO_TESTS) else "\n".join(told.splitlines()[-SUMMARY_LINES:]))
    _say(f"\n{last_line((shown, told), time.monotonic() - began)}\n")
    return together(codes)


def together(codes: Sequence[int]) -> int:
    """The exit code of both: a half that has none of the tests that were asked for counts only if both have none."""
    counted = [code for code in codes if code != NO_TESTS] or [NO_TESTS]
    return next((abs(code) for code in counted if code), 0)


def last_line(texts: Sequence[str], took_s: float) -> str:
    """What pytest says at last, for both: `texts` are all that each said."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_counts(text))
    counts.pop("deselected", None)  # by one half, which the other one has run
    minutes, seconds = divmod(int(took_s), 60)
    said = ", ".join(f"{number} {word}" for word, number in counts.items()) or "no tests ran"
    return f" {said} in {took_s:.2f}s ({minutes // 60}:{minutes % 60:02}:{seconds:02}) ".center(80, "=")


def _counts(text: str) -> Mapping[str, int]:
    for line in reversed(text.splitlines()):
        if found := _SUMMARY.match(_COLOUR.sub("", line).strip()):
            return {word: int(number) for number, word in _COUNT.findall(found[1])}
    return {"without an end": 1}


def _start(marks: str, part: int, arguments: Sequence[str], output: int) -> subprocess.Popen[bytes]:
    """A session of its own keeps the terminal's Ctrl-C from it: it is passed on, once."""
    terminal = sys.stdout.isatty()
    colour = ["--color=yes"] if terminal and output == subprocess.PIPE else []
    columns = {"COLUMNS": str(shutil.get_terminal_size().columns)} if terminal else {}
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-m", marks, "-o", f"cache_dir=.pytest_cache/{part}", *colour, *arguments],
        env={**os.environ, **columns, "TIDINGS_X_PART": str(part)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _pass_on(halves: Sequence[subprocess.Popen[bytes]]) -> None:
    def end(_number: int, _frame: FrameType | None) -> None:
        for half in halves:
            if half.poll() is None:
                half.send_signal(signal.SIGINT)

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)


def _show(half: subprocess.Popen[bytes]) -> str:
    """Shows what it says as it comes, and returns it."""
    assert half.stdout is not None
    said: list[bytes] = []
    while chunk := os.read(half.stdout.fileno(), CHUNK_BYTES):
        said.append(chunk)
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return b"".join(said).decode(errors="replace")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
