"""How fast the Python is that runs this: `make setup` takes the fastest of those it finds.

    python -I tools/make/pace.py where     its real path
    python -I tools/make/pace.py time      how many microseconds of processor a loop takes

Either ends with 1 where the locked packages are not made for this Python: they are for CPython 3.11 to 3.14 with its
lock. One that was built with profile-guided optimization is faster by a tenth and more, and nothing but the time tells.

Does not know: what the services do. The loop does what they do most: calls, attributes, dictionaries, small objects.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence

SUPPORTED = ((3, 11), (3, 14))
ROUNDS = 400_000  # about 0.2 s
BEST_OF = 3


class Entry:
    __slots__ = ("name", "number")

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number

    def follows(self, other: Entry | None) -> bool:
        return other is None or self.number > other.number


def is_supported(version: tuple[int, int], implementation: str, flags: str) -> bool:
    """Whether the lock files hold what such a Python needs; `flags`: as in sys.abiflags."""
    oldest, newest = SUPPORTED
    return implementation == "CPython" and "t" not in flags and oldest <= version <= newest


def microseconds(rounds: int = ROUNDS) -> int:
    """The best of a few: processor time, so that other work on the machine counts little."""
    return min(_loop(rounds) for _ in range(BEST_OF))


def main(arguments: Sequence[str]) -> int:
    if not is_supported(sys.version_info[:2], platform.python_implementation(), sys.abiflags):
        return 1
    sys.stdout.write(f"{os.path.realpath(sys.executable) if list(arguments) == ['where'] else microseconds()}\n")
    return 0


def _loop(rounds: int) -> int:
    began = time.process_time()
    last: dict[str, Entry] = {}
    for number in range(rounds):
        entry = Entry(f"name-{number & 1023}", number)
        if entry.follows(last.get(entry.name)):
            last[entry.name] = entry
    return round((time.process_time() - began) * 1_000_000)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
