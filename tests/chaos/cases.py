"""What is done to the cluster: every case by its name, with the stack that it needs.

A case breaks something and mends it again; it says when it was mended. It waits for nothing that it need not: the
conductor (run.py) waits until all is healthy, lets the load go on, and judges.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from tests.chaos.load import Load
from tests.chaos.stack import Shape, Stack

# Longer than a node's lease (5 s), so that others take over while it sleeps.
SLEEP_S = 8.0

PLAIN = Shape()


class Skipped(Exception):
    """This machine cannot do it; the text says why."""


@dataclass(slots=True)
class Scene:
    """What a case works on. `mended` marks the moment from which the cluster has to heal."""

    stack: Stack
    load: Load
    rng: random.Random
    say: Callable[[str], None]
    mended_at: float = field(default_factory=time.monotonic)

    def mended(self) -> None:
        self.mended_at = time.monotonic()


Act = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """`quick`: part of `make test`."""

    name: str
    does: str
    act: Act
    shape: Shape = PLAIN
    quick: bool = False


def kill(name: str) -> Act:
    """kill -9; the stack starts it again after a second, as Kubernetes would."""

    async def act(scene: Scene) -> None:
        pid = scene.stack.kill(name)
        scene.mended()
        await scene.stack.until_gone(name, pid)

    return act


def freeze(name: str, seconds: float = SLEEP_S) -> Act:
    """SIGSTOP, and SIGCONT when its lease has run out."""

    async def act(scene: Scene) -> None:
        scene.stack.signal(name, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            scene.stack.signal(name, signal.SIGCONT)
            scene.mended()

    return act


def restart(target: str) -> Act:
    """`tidings restart`: asked to stop, started again."""

    async def act(scene: Scene) -> None:
        await scene.stack.command("restart", target)
        scene.mended()

    return act


async def scale_access(scene: Scene) -> None:
    """2 → 5 → 1 → 2."""
    for number in (5, 1, 2):
        scene.say(f"access={number}")
        await scene.stack.command("scale", f"access={number}")
        scene.mended()
        await asyncio.sleep(3)


def _each(names: Iterable[str], verb: str, does: str, make: Callable[[str], Act], *, quick: bool = False) -> list[Case]:
    return [Case(f"{verb}-{name.removesuffix('-0')}", does.format(name), make(name), quick=quick) for name in names]


NODES = ("access-0", "logic-0", "storage-0")
BACKENDS = ("etcd", "kafka", "mongodb")

CASES = (
    *_each(NODES, "kill", "kill -9 of {}", kill, quick=True),
    *_each(BACKENDS, "kill", "kill -9 of {}, which is started again", kill, quick=True),
    *_each(NODES, "freeze", "{} is stopped (SIGSTOP) for longer than its lease", freeze),
    *_each(BACKENDS, "freeze", "{} is stopped (SIGSTOP) for some seconds", freeze),
    *_each(BACKENDS, "restart", "tidings restart {}", restart),
    Case("restart-all", "tidings restart all: a rolling restart of every node", restart("all")),
    Case("scale-access", "tidings scale access=5, then 1, then 2", scale_access),
)


def chosen(text: str) -> list[Case]:
    """`quick`, `all`, or names. Raises ValueError with the names that there are."""
    if text in ("all", "quick"):
        return [case for case in CASES if case.quick or text == "all"]
    by_name = {case.name: case for case in CASES}
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in by_name]:
        raise ValueError(f"no case {', '.join(unknown)}; there are quick, all, {', '.join(by_name)}")
    return [by_name[name] for name in names]
