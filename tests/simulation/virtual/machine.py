"""The simulated machine: its clocks are the virtual loop's, its randomness comes from the seed.

`install` replaces what a program gets from the operating system, for the whole process; a simulation therefore runs
in a process of its own (`python -m tests.simulation`), before anything of the cluster is imported. Sets of strings
are iterated by their hashes, so that process also needs PYTHONHASHSEED=0: `same_hashes` says whether it has it.

Guarantees: with the same seed, the same answers in the same order.
"""

from __future__ import annotations

import asyncio
import os
import random
import time

WALL_START_S = 1_750_000_000


class Machine:
    """Clocks and entropy of one simulation; `jump_s` moves the time of day, as an administrator would."""

    def __init__(self) -> None:
        self.jump_s = 0.0
        self._entropy = random.Random(0)

    def seed(self, seed: int) -> None:
        """Lets everything that is random follow from this number from now on."""
        self.jump_s = 0.0
        self._entropy = random.Random(f"entropy {seed}")
        random.seed(f"random {seed}")

    def monotonic(self) -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return 0.0

    def wall(self) -> float:
        return WALL_START_S + self.monotonic() + self.jump_s

    def urandom(self, size: int) -> bytes:
        return self._entropy.randbytes(size)


def install() -> Machine:
    """Call it first of all: some modules take hold of a clock when they are imported."""
    machine = Machine()
    time.monotonic = machine.monotonic
    time.perf_counter = machine.monotonic
    time.time = machine.wall
    time.monotonic_ns = lambda: round(machine.monotonic() * 1e9)
    time.perf_counter_ns = time.monotonic_ns
    time.time_ns = lambda: round(machine.wall() * 1e9)
    os.urandom = machine.urandom
    return machine


def same_hashes() -> bool:
    """Whether strings have the same hashes in every run of this process."""
    return os.environ.get("PYTHONHASHSEED") == "0"
