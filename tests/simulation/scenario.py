"""One run: people talk, the seed decides what breaks and when, all is mended, everyone catches up, and the checker
judges.

Does not know: how a node is made (nodes.py), what can break (faults.py), what a promise is (checker.py).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulation.crowd import Crowd
from tests.simulation.faults import Fault, draw
from tests.simulation.virtual.machine import Machine
from tests.simulation.virtual.network import CALM, Weather
from tests.simulation.world import World, world
from tests.support.histories.checker import Violation, check, untold
from tests.support.histories.history import History

TALK_S = 25.0
HEAL_S = 120.0
# A lost push shows at the next heartbeat (30 s here) and is fetched at once.
HEARTBEAT_S = 45.0
# What was stored last is told within this time.
TELL_S = 15.0
STORM = Weather(late=0.02, lost=0.01, doubled=0.02, refused=0.01, unknown=0.01)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    seed: int
    violations: Sequence[Violation]
    acknowledged: int
    history: History
    story: Sequence[str]


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the cluster and its crowd are."""

    access: int = 2
    logic: int = 2
    storage: int = 2
    people: int = 6
    messages: int = 120
    faults: int = 5

    @classmethod
    def draw(cls, seed: int) -> Shape:
        """Small clusters and larger ones, quiet days and bad ones."""
        rng = random.Random(f"shape {seed}")
        return cls(
            access=rng.randint(1, 3), logic=rng.randint(1, 3), storage=rng.randint(1, 3), faults=rng.randint(2, 9)
        )

    @property
    def nodes(self) -> list[str]:
        numbers = {"access": self.access, "logic": self.logic, "storage": self.storage}
        return [f"{kind}-{number}" for kind, count in numbers.items() for number in range(count)]


async def run(seed: int, machine: Machine, shape: Shape | None = None) -> Outcome:
    """The whole run of one seed."""
    shape = shape or Shape.draw(seed)
    async with world(seed, machine) as here:
        for name in shape.nodes:
            here.start(name)
        crowd = Crowd(here, random.Random(f"crowd {seed}"))
        async with asyncio.timeout(HEAL_S):
            await here.ready(len(shape.nodes))
            await crowd.gather(shape.people)
        try:
            async with asyncio.timeout(TALK_S + HEAL_S):
                await _storm(here, crowd, shape)
            violations = await _aftermath(here, crowd, shape)
        except TimeoutError:
            waiting = sorted({task.get_name() for task in asyncio.all_tasks()})
            violations = [Violation("G10", f"the storm does not end: {_unsettled(crowd)}; tasks: {waiting}")]
        acknowledged = sum(device.acknowledged for device in here.devices)
        return Outcome(seed, [*here.witness.violations, *violations], acknowledged, here.history, here.log)


async def _storm(here: World, crowd: Crowd, shape: Shape) -> None:
    here.wires.weather = STORM
    rng = random.Random(f"faults {here.seed}")
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.talk(shape.messages, TALK_S), name="talking")
        group.create_task(crowd.come_and_go(TALK_S), name="coming and going")
        if crowd.hall is not None:
            group.create_task(crowd.hall.come_and_go(TALK_S), name="coming and going in the hall")
        group.create_task(crowd.open_tabs(TALK_S), name="opening tabs")
        for _ in range(shape.faults):
            group.create_task(_later(rng.uniform(0.0, TALK_S), draw(rng), here, rng), name="breaking")
    here.wires.weather = CALM
    here.note("all is calm")


async def _later(seconds: float, fault: Fault, here: World, rng: random.Random) -> None:
    await asyncio.sleep(seconds)
    await fault(here, rng)


async def _aftermath(here: World, crowd: Crowd, shape: Shape) -> list[Violation]:
    """Everything heals by itself; what was lost on the way shows at a heartbeat."""
    try:
        async with asyncio.timeout(HEAL_S):
            await here.ready(len(shape.nodes))
        await asyncio.sleep(HEARTBEAT_S)
        if len(crowd.tabs_left) != 1:
            return [Violation("newest wins", f"of {len(crowd.tabs)} logins at once {len(crowd.tabs_left)} are left")]
        if not crowd.settled:
            return [Violation("G6", f"{HEARTBEAT_S:g} s after all was well again: {_unsettled(crowd)}")]
        # Before anybody asks for a conversation that is quiet by now.
        if missing := untold(here.history):
            return missing
        async with asyncio.timeout(HEAL_S):
            await crowd.look_back()
        await asyncio.sleep(TELL_S)
    except TimeoutError:
        alive = sorted(f"{record.name} {record.state}" for record, _ in here.store.nodes.values())
        return [Violation("G10", f"{HEAL_S:g} s after the last fault it is not healed: {alive}, {_unsettled(crowd)}")]
    return [*check(here.history, hears_events=True), *here.witness.contents_after_recall()]


def _unsettled(crowd: Crowd) -> str:
    return "; ".join(
        f"{device.user}/{device.name}: {device.state}" for device in crowd.all_devices if not device.settled
    )
