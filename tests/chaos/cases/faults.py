"""What is done to processes: killed, stopped for a while, asked to restart, added and removed; alone or mixed."""

from __future__ import annotations

import asyncio
import signal
import time

from tests.chaos.scene import Act, Scene
from tests.support.cluster.stack import KINDS

# Longer than a node's lease (5 s), so that others take over while it sleeps.
SLEEP_S = 8.0

MIXED_ROUNDS = 6


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
        pid = scene.stack.send_signal(name, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            scene.stack.wake(pid)
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


async def kill_everything(scene: Scene) -> None:
    """All nodes and all backends in one moment."""
    status = scene.stack.status()
    pids = {process["name"]: process["pid"] for kind in KINDS for process in status[kind]}
    for name in pids:
        scene.stack.kill(name)
    scene.mended()
    for name, pid in pids.items():
        await scene.stack.until_gone(name, pid)


async def mixed(scene: Scene) -> None:
    """Faults of all kinds in an order from the seed; the next often comes before the last one is over."""
    names = [process["name"] for kind in KINDS for process in scene.stack.processes(kind)]
    until: dict[int, float] = {}
    try:
        for _ in range(MIXED_ROUNDS):
            name = scene.rng.choice(names)
            kind = scene.rng.choice(("kill", "freeze", "pause"))
            pid = scene.stack.process(name)["pid"]
            if pid is not None and kind != "pause":
                scene.say(f"{kind} {name}")
                scene.stack.send(pid, signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
                if kind == "freeze":
                    until[pid] = time.monotonic() + scene.rng.uniform(1, SLEEP_S)
            await asyncio.sleep(scene.rng.uniform(0.5, 4))
            for asleep in [asleep for asleep, end in until.items() if end <= time.monotonic()]:
                del until[asleep]
                scene.stack.wake(asleep)
    finally:
        for asleep in until:
            scene.stack.wake(asleep)
        scene.mended()
