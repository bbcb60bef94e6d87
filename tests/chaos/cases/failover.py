"""MongoDB as a set of three and Kafka with three brokers: the loss of the member that matters."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from pymongo import AsyncMongoClient

from tests.chaos.cases.faults import SLEEP_S
from tests.chaos.scene import Scene
from tests.support.cluster.stack import Shape, Stack

SHAPE = Shape(name="sets", arguments=("--mongodb-members=3", "--kafka-brokers=3"))


async def kill_primary(scene: Scene) -> None:
    name = await primary(scene.stack)
    scene.say(f"the primary is {name}")
    pid = scene.stack.kill(name)
    scene.mended()
    await scene.stack.until_gone(name, pid)


async def freeze_primary(scene: Scene) -> None:
    name = await primary(scene.stack)
    scene.say(f"the primary is {name}")
    await _freeze(scene, name)


async def kill_broker(scene: Scene) -> None:
    """The first: the nodes' bootstrap list begins with it."""
    pid = scene.stack.kill("kafka")
    scene.mended()
    await scene.stack.until_gone("kafka", pid)


async def freeze_broker(scene: Scene) -> None:
    await _freeze(scene, "kafka")


async def primary(stack: Stack) -> str:
    """The name of the member that takes writes."""
    members = [backend for backend in stack.processes("backends") if backend["name"].startswith("mongodb")]
    async with AsyncMongoClient[dict[str, Any]](members[0]["address"], directConnection=True) as client:
        told = await client.admin.command("hello")
    return next(str(member["name"]) for member in members if member["address"] == told["primary"])


async def _freeze(scene: Scene, name: str) -> None:
    pid = scene.stack.send_signal(name, signal.SIGSTOP)
    try:
        await asyncio.sleep(SLEEP_S)
    finally:
        scene.stack.wake(pid)
        scene.mended()
