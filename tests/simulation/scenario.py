"""One run: people talk, the seed decides what breaks and when, all is healed, everyone catches up, and the checker
judges.

Does not know: how a node is made (nodes.py), what a promise is (checker.py).
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from tests.simulation.checker import Violation, check
from tests.simulation.history import Member
from tests.simulation.network import CALM, Weather
from tests.simulation.world import RESTART_S, World, world

TALK_S = 20.0
HEAL_S = 120.0
STORM = Weather(late=0.02, lost=0.01, doubled=0.02, refused=0.01, unknown=0.01)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    seed: int
    violations: list[Violation]
    acknowledged: int
    digest: str
    story: list[str]


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the cluster and its crowd are."""

    access: int = 2
    logic: int = 2
    storage: int = 2
    people: int = 5
    messages: int = 120
    kills: int = 3

    @property
    def nodes(self) -> list[str]:
        numbers = {"access": self.access, "logic": self.logic, "storage": self.storage}
        return [f"{kind}-{number}" for kind, count in numbers.items() for number in range(count)]


async def run(seed: int, shape: Shape | None = None) -> Outcome:
    """The whole run of one seed."""
    shape = shape or Shape()
    async with world(seed) as here:
        for name in shape.nodes:
            here.start(name)
        async with asyncio.timeout(30):
            await here.ready(len(shape.nodes))
        crowd = _crowd(here, shape)
        here.wires.weather = STORM
        async with asyncio.TaskGroup() as group:
            group.create_task(_talk(here, crowd, shape.messages), name="talking")
            group.create_task(_break(here, shape), name="breaking")
        here.wires.weather = CALM
        here.note("all is calm")
        try:
            async with asyncio.timeout(HEAL_S):
                await here.ready(len(shape.nodes))
                await _catch_up(here, crowd)
            violations = check(here.history)
        except TimeoutError:
            violations = [Violation("G10", f"{HEAL_S:g} s after the last fault it is not healed: {_unsettled(here)}")]
        acknowledged = sum(device.acknowledged for device in here.devices)
        return Outcome(seed, violations, acknowledged, here.history.digest(), here.log)


def _crowd(here: World, shape: Shape) -> dict[str, list[str]]:
    """Conversations with their people: everyone talks with the next one, and one to oneself."""
    people = [f"p{number}" for number in range(shape.people)]
    for number, person in enumerate(people):
        for device in ("phone", "web")[: 1 + number % 2]:
            here.device(person, device)
    crowd = {f"d:{people[0]}|{people[0]}": [people[0]]}
    for first, second in zip(people, people[1:] + people[:1], strict=True):
        low, high = sorted((first, second))
        crowd[f"d:{low}|{high}"] = [low, high]
    return crowd


async def _talk(here: World, crowd: dict[str, list[str]], messages: int) -> None:
    rng = random.Random(f"talk {here.seed}")
    for number in range(messages):
        conversation = rng.choice(list(crowd))
        speaker = rng.choice(crowd[conversation])
        device = rng.choice([device for device in here.devices if device.user == speaker])
        for part in range(rng.choice((1, 1, 1, 4))):  # some pipeline
            device.post(conversation, f"message {number}.{part}")
        await asyncio.sleep(rng.expovariate(messages / TALK_S))


async def _break(here: World, shape: Shape) -> None:
    rng = random.Random(f"break {here.seed}")
    for _ in range(shape.kills):
        await asyncio.sleep(rng.uniform(0.5, TALK_S / shape.kills))
        name = rng.choice(sorted(here.lives))
        if rng.random() < 0.2:
            await here.drain(name)
        else:
            here.kill(name)
        await asyncio.sleep(rng.uniform(0.0, 2 * RESTART_S))
        here.start(name)


async def _catch_up(here: World, crowd: dict[str, list[str]]) -> None:
    async with asyncio.TaskGroup() as group:
        for device in here.devices:
            group.create_task(device.settle(), name=f"{device.user}/{device.name} settles")
    for conversation, people in crowd.items():
        for person in people:
            devices = [device for device in here.devices if device.user == person]
            await devices[0].read(conversation)
            here.history.add(Member(conversation, person, tuple(device.name for device in devices)))
    for device in here.devices:
        await device.read_inbox()


def _unsettled(here: World) -> str:
    states = [f"{device.user}/{device.name}: {device.state}" for device in here.devices if not device.settled]
    return f"nodes {sorted(here.store.nodes)}, {'; '.join(states)}"
