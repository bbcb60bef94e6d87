"""Thousands of clients that must move: a rolling restart of all access nodes, and the death of the one they are on."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict

from tests.chaos.scene import Act, Scene
from tests.support.cluster.stack import Shape
from tests.support.faults.outcome import Broken
from tests.support.load.crowd_load import Movement, crowd_on, users_of

CROWD = 5_000
TALKERS = 400
TALK_PER_S = 40.0
CONNECTIONS_PER_S = 500
SHAPE = Shape(name="storm", settings={"TIDINGS_CONNECTIONS_PER_S": str(CONNECTIONS_PER_S)})
BEFORE_S = 10.0

# Asked to leave, told where to go, turned away for a moment. 4004: this machine was too slow for a handshake.
EXPECTED = {"4000", "4001", "4003", "4004"}

# A clock second that straddles two of the limit's may see the burst of both.
PEAK_MAX = 2 * CONNECTIONS_PER_S


def rolling_restart(count: int = CROWD) -> Act:
    """`tidings restart access` while a crowd is connected: each client is told where to go, and goes at its time."""

    async def act(scene: Scene) -> None:
        users = [f"{scene.run}.c{number}" for number in range(count)]
        async with crowd_on(scene.stack, users, talkers=TALKERS, seed=1, folder=scene.folder) as crowd:
            scene.say(f"{count} clients connect")
            await crowd.begin(count)
            await crowd.talk(TALK_PER_S)
            async with scene.window("before", BEFORE_S):
                pass
            began = time.monotonic()
            async with scene.window("during"):
                await scene.stack.command("restart", "access")
                scene.mended()
                await crowd.until_back()
            scene.details["moved_s"] = round(time.monotonic() - began, 1)
            await scene.until_healthy()
            async with scene.window("after", BEFORE_S):
                pass
            movement = await crowd.movement()
            scene.details["crowd"] = asdict(movement)
            scene.events += await crowd.end()
        _check_pace(movement)
        if movement.lost or set(movement.goodbyes) - EXPECTED:
            raise Broken(f"clients were not all asked to leave: {movement.lost} lost, goodbyes {movement.goodbyes}")

    return act


def reconnect_storm(count: int = CROWD) -> Act:
    """kill -9 of the access node that holds the whole crowd; the load's own clients talk on."""

    async def act(scene: Scene) -> None:
        users = users_of(await scene.stack.owners(), "access-0", f"{scene.run}.c", count)
        async with crowd_on(scene.stack, users, talkers=TALKERS, seed=1, folder=scene.folder) as crowd:
            scene.say(f"{count} clients connect to access-0")
            await crowd.begin(count)
            await crowd.talk(TALK_PER_S)
            async with scene.window("before", BEFORE_S):
                pass
            async with scene.window("during"):
                scene.stack.kill("access-0")
                scene.mended()
                await asyncio.gather(crowd.until_back(), scene.until_healthy())
                scene.details["back_s"] = (await crowd.movement()).back_max_s
            async with scene.window("after", BEFORE_S):
                pass
            movement = await crowd.movement()
            scene.details["crowd"] = asdict(movement)
            scene.events += await crowd.end()
        _check_pace(movement)

    return act


def _check_pace(movement: Movement) -> None:
    if movement.peak_per_s > PEAK_MAX:
        raise Broken(f"{movement.peak_per_s} sessions began on a node in a second: the limit is {CONNECTIONS_PER_S}")
