"""What is done to links: cut, cut one way, slowed. On a stack whose every call goes over a proxy."""

from __future__ import annotations

import asyncio

from tests.chaos.scene import Act, Scene
from tests.support.cluster.stack import Shape
from tests.support.faults.outcome import Broken
from tests.support.network.links import Harm, Links, Way

SHAPE = Shape(name="links", proxied=True)
# Here access nodes call each other all the time: every other client is connected to a node that does not own its user.
VISITS = Shape(name="visits", proxied=True, settings={"TIDINGS_PLACEMENT": "any"})

# Longer than a node's lease (5 s) and than the deadline of a call.
CUT_S = 8.0
WAYS: tuple[Way, ...] = ("both", "there", "back")


def harm(*harms: Harm, seconds: float = CUT_S) -> Act:
    async def act(scene: Scene) -> None:
        links = _links(scene)
        before = links.harmed
        await links.harm(*harms)
        try:
            await asyncio.sleep(seconds)
        finally:
            await links.mend()
            scene.mended()
        scene.details["harmed"] = links.harmed - before
        if links.harmed == before:
            raise Broken("nothing went over the links that were to be harmed: the case shows nothing")

    return act


def isolate(name: str) -> Act:
    """The process runs, and reaches nobody; nobody reaches it. Its clients do."""
    return harm(Harm(name, "*"), Harm("*", name))


async def mixed_cuts(scene: Scene) -> None:
    """Links are harmed and mended in an order from the seed."""
    links = _links(scene)
    nodes = [node["name"] for kind in ("access", "logic", "storage") for node in scene.stack.processes(kind)]
    everyone = [*nodes, "etcd", "kafka", "mongodb"]
    try:
        for _ in range(6):
            caller, callee = scene.rng.choice(nodes), scene.rng.choice(everyone)
            way = scene.rng.choice(WAYS)
            delay_s = scene.rng.choice((0.0, 0.0, 0.3))
            scene.say(f"{caller} to {callee}, {way}: {f'{delay_s} s slower' if delay_s else 'cut'}")
            await links.harm(Harm(caller, callee, way, delay_s))
            await asyncio.sleep(scene.rng.uniform(1, 4))
            if scene.rng.random() < 0.3:
                await links.mend()
    finally:
        await links.mend()
        scene.mended()


def _links(scene: Scene) -> Links:
    assert scene.stack.links is not None, "a case of links needs a stack with proxies"
    return scene.stack.links
