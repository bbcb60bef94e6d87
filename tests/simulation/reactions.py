"""People react while the cluster breaks: `python -m tests.simulation.reactions --seeds 5`.

In a direct chat, a group and a large one everybody gives and takes back reactions, one act after the other, each until
it is answered. When all is mended, the set in the database is what was asked for, each message says of its reactions
what the set says, nothing is noted as ahead of the log, and the logs have no hole.

Does not know: what can break (faults.py), other promises (scenario.py).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulation.virtual import machine

if TYPE_CHECKING:  # modules of the cluster take hold of clocks when they are imported
    from tests.simulation.world import World
    from tests.support.device.device import Device

PEOPLE, MESSAGES = 7, 3
ACTS, ACT_S = 40, 0.6  # of each person; and how long they wait between two
FAULTS = 6
GIVEN = ("+", "-", "!")
HEAL_S, QUIET_S = 120.0, 75.0
SMALL = 4  # members of the small group

Place = tuple[str, int]


@dataclass(slots=True)
class Reacting:
    """Who has which device, what is reacted to, and what everybody has given in the end."""

    here: World
    devices: dict[str, Device] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=dict)  # by person
    given: set[tuple[str, int, str, str]] = field(default_factory=set)

    async def prepare(self) -> None:
        """Everybody comes, and there is something to react to."""
        from tests.support.histories.history import Acknowledged
        from tidings_protocol.client_pb2 import GroupRequest

        people = [f"p{number}" for number in range(PEOPLE)]
        self.devices = {person: self.here.device(person, "phone") for person in people}
        conversations = {"d:p0|p1": people[:2]}
        for name, members in (("small", people[:SMALL]), ("large", people)):
            create = GroupRequest(create=GroupRequest.Create(name=name, members=members, client_id=name))
            made = await self.devices[people[0]].act(create)
            conversations[made.group_info.conversation] = members
        for conversation in conversations:
            for number in range(MESSAGES):
                self.devices["p0"].post(conversation, f"message {number}")
        while not all(device.settled for device in self.devices.values()):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
        sent = [each for each in self.here.history.events if isinstance(each, Acknowledged)]
        for conversation, members in conversations.items():
            places = [(conversation, each.seq) for each in sent if each.conversation == conversation]
            assert len(places) >= MESSAGES
            for person in members:
                self.places.setdefault(person, []).extend(places)

    async def react(self, person: str, rng: random.Random) -> None:
        """One act after the other, each until it is answered."""
        for number in range(ACTS):
            conversation, seq = rng.choice(self.places[person])
            reaction = rng.choice(GIVEN)
            key = (conversation, seq, person, reaction)
            await self.devices[person].react(conversation, seq, reaction, key in self.given, f"r{number}")
            self.given ^= {key}
            await asyncio.sleep(rng.expovariate(1 / ACT_S))

    def wrong(self) -> list[str]:
        """What is not as it must be."""
        from services.storage.folding.shown import folded_state

        database = self.here.database
        there = {
            each.key
            for users in database.reactions.values()
            for given in users.values()
            for each in given.values()
            if not each.gone
        }
        wrong = [f"asked for and not there: {sorted(self.given - there)}"] if self.given - there else []
        wrong += [f"there and not asked for: {sorted(there - self.given)}"] if there - self.given else []
        for conversation, log in database.messages.items():
            if sorted(log) != list(range(1, len(log) + 1)):
                wrong.append(f"{conversation} has a hole: {sorted(log)}")
            for seq, message in log.items():
                if not message.act:
                    state = folded_state(message).state
                    told = {each.reaction: each.count for each in state.reactions}
                    counts = Counter(key[3] for key in there if key[:2] == (conversation, seq))
                    if told != counts:
                        wrong.append(f"{conversation} {seq} says {told}, there are {dict(counts)}")
        if database.ahead:
            wrong.append(f"still noted as ahead of the log: {list(database.ahead)}")
        return wrong


async def run(seed: int, simulated: machine.Machine) -> tuple[list[str], list[str]]:
    """What is wrong in the end, and the story."""
    from tests.simulation.faults import draw
    from tests.simulation.scenario import STORM, Shape
    from tests.simulation.virtual.network import CALM
    from tests.simulation.world import world

    shape = Shape(access=2, logic=2, storage=1 + seed % 3)
    rng = random.Random(f"reactions {seed}")
    async with world(seed, simulated) as here:
        for name in shape.nodes:
            here.start(name)
        crowd = Reacting(here)

        async def break_later() -> None:
            await asyncio.sleep(rng.uniform(0.0, ACTS * ACT_S))
            await draw(rng)(here, rng)

        try:
            async with asyncio.timeout(HEAL_S):
                await here.ready(len(shape.nodes))
                await crowd.prepare()
            here.wires.weather = STORM
            async with asyncio.timeout(ACTS * ACT_S + HEAL_S), asyncio.TaskGroup() as group:
                for person in crowd.devices:
                    group.create_task(crowd.react(person, random.Random(f"{seed} {person}")), name=person)
                for _ in range(FAULTS):
                    group.create_task(break_later(), name="breaking")
            here.wires.weather = CALM
            here.note("all is calm")
            async with asyncio.timeout(HEAL_S):
                await here.ready(len(shape.nodes))
            await asyncio.sleep(QUIET_S)
        except TimeoutError:
            return ["it does not come to an end"], here.log
        return [*crowd.wrong(), *map(str, here.witness.violations)], here.log


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.reactions")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args(arguments)
    if not machine.same_hashes():
        command = [sys.executable, "-m", "tests.simulation.reactions", *arguments]
        return subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, check=False).returncode
    simulated = machine.install()
    from services.common.telemetry import logs
    from tests.simulation.virtual import loop

    logs.configure(level="error", form="console")
    failed = 0
    seeds = [options.seed] if options.seed is not None else range(options.seeds)
    for seed in seeds:
        simulated.seed(seed)
        wrong, story = loop.run(lambda seed=seed: run(seed, simulated))  # type: ignore[misc]
        if options.seed is not None:
            print(*story, sep="\n")  # noqa: T201
        if wrong:
            failed += 1
            print(f"seed {seed} fails: python -m tests.simulation.reactions --seed {seed}", *wrong, sep="\n")  # noqa: T201
    print(f"{len(seeds)} seeds, {failed} failed")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
