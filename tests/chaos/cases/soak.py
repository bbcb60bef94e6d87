"""Ten minutes of connecting, sending, disconnecting and killing: afterwards everything is back at its starting level.

A round: a process of clients connects and talks; something of the cluster is killed; then the clients are gone, in
every other round by the death of their process. The load's own clients talk all the time, close and open again. The
first node of each kind is never killed: what it forgot to give back would add up.

The starting level is taken after one round for each victim, so that what is made once (caches, pools) is there.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping
from typing import Any

from tests.chaos.load.gauges import MIB, Counts, above, counts_of, grown, highest, memory_of
from tests.chaos.scene import Scene
from tests.support.cluster.stack import Shape
from tests.support.faults.outcome import Broken
from tests.support.load.crowd_load import crowd_on

SOAK_S = 600.0
CLIENTS, CLIENTS_TALK_PER_S = 200, 100.0
LOAD_PER_S = 50.0
BEFORE_KILL_S, AFTER_KILL_S = 1.0, 3.0
VICTIMS = ("access-1", "logic-1", "storage-1", "kafka", "mongodb", "etcd")
SILENCE_S = 10.0
LEVEL_S = 20.0
BACK_S = 180.0
POLL_S = 2.0
SHAPE = Shape(name="soak")


async def soak(scene: Scene) -> None:
    rounds = itertools.count(1)
    await scene.load.talk(LOAD_PER_S)
    async with memory_of(scene.stack) as memory:
        for victim in VICTIMS:
            await _round(scene, next(rounds), victim)
        start = await _level(scene)
        measured = time.monotonic()
        first = memory.mean(measured - LEVEL_S, measured)
        await scene.load.talk(LOAD_PER_S)
        done = 0
        while time.monotonic() - measured < scene.seconds(SOAK_S):
            await _round(scene, next(rounds), VICTIMS[done % len(VICTIMS)])
            done += 1
        lasted_s = time.monotonic() - measured
        scene.mended()
        end = await _back(scene, start)
        last = memory.mean(time.monotonic() - LEVEL_S, time.monotonic())
    scene.details["soak"] = {
        "seconds": round(lasted_s),
        "rounds": done,
        "clients": CLIENTS * done,
        "counts": _table(start, end),
        "memory_mib": {
            name: {"first": round(used / MIB), "last": round(last[name] / MIB)}
            for name, used in first.items()
            if name in last
        },
    }
    if more := above(start, end):
        raise Broken(f"after {BACK_S:g} s of silence there is more than at the start: {'; '.join(more)}")
    if more := grown(first, last):
        raise Broken(f"memory did not come back: {'; '.join(more)}")


async def _round(scene: Scene, number: int, victim: str) -> None:
    scene.say(f"round {number}: {CLIENTS} clients come, {victim} is killed, they are gone")
    users = [f"{scene.run}.k{each}" for each in range(CLIENTS)]  # the same every time: what is cached of them too
    async with crowd_on(
        scene.stack, users, talkers=CLIENTS, seed=number, folder=scene.folder, prefix=f"round-{number}"
    ) as crowd:
        await crowd.begin(CLIENTS)
        await crowd.talk(CLIENTS_TALK_PER_S)
        await asyncio.sleep(BEFORE_KILL_S)
        pid = scene.stack.kill(victim)
        await scene.stack.until_gone(victim, pid)
        await asyncio.sleep(AFTER_KILL_S)
        await scene.stack.until_healthy()
        if number % 2:
            await crowd.leave()


async def _silence(scene: Scene) -> None:
    """All of the load's clients are there, and say nothing."""
    await scene.load.talk(0.0, restless=False)
    await scene.stack.until_healthy()
    until = time.monotonic() + BACK_S
    while (told := scene.load.progress)["online"] < told["devices"] or told["open"]:
        if time.monotonic() > until:
            raise Broken(f"the load's clients do not settle: {told}")
        await asyncio.sleep(POLL_S)
    await asyncio.sleep(SILENCE_S)


async def _level(scene: Scene) -> dict[str, Counts]:
    """The most of everything, within a time of silence."""
    await _silence(scene)
    found, until = await counts_of(scene.stack), time.monotonic() + LEVEL_S
    while time.monotonic() < until:
        await asyncio.sleep(POLL_S)
        found = highest(found, await counts_of(scene.stack))
    return found


async def _back(scene: Scene, start: Mapping[str, Counts]) -> dict[str, Counts]:
    """The counts when all is back, or after the time that it may take."""
    await _silence(scene)
    until = time.monotonic() + BACK_S
    while above(start, found := await counts_of(scene.stack)):
        if time.monotonic() > until:
            break
        await asyncio.sleep(POLL_S)
    await asyncio.sleep(LEVEL_S)
    return found


def _table(start: Mapping[str, Counts], end: Mapping[str, Counts]) -> dict[str, dict[str, Any]]:
    return {
        name: {count: [round(value), round(end[name][count])] for count, value in counts.items()}
        for name, counts in start.items()
        if name in end
    }
