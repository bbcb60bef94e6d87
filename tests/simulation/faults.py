"""What can happen to the simulated cluster: each fault breaks one thing for a while and mends it.

Does not know: what should hold all the same (checker.py).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from tests.simulation.nodes import LEASE_TTL_S
from tests.simulation.world import RESTART_S, World

Fault = Callable[[World, random.Random], Awaitable[None]]
AWAY_S = (0.2, 6.0)


async def kill(here: World, rng: random.Random) -> None:
    """kill -9 of a node, which starts again under its name."""
    name = _somebody(here, rng)
    if name:
        here.kill(name)
        await asyncio.sleep(rng.uniform(0.0, 2 * RESTART_S))
        here.start(name)


async def drain(here: World, rng: random.Random) -> None:
    """SIGTERM of a node, which starts again when it has left."""
    name = _somebody(here, rng)
    if name:
        await here.drain(name)
        await asyncio.sleep(rng.uniform(0.0, 2 * RESTART_S))
        here.start(name)


async def isolate(here: World, rng: random.Random) -> None:
    """A node reaches nobody and no backend, and is refused or hears nothing; if that lasts, its lease runs out while it
    goes on running.
    """
    name = _somebody(here, rng)
    if not name:
        return
    life = here.lives[name]
    silently = rng.random() < 0.5
    here.note(f"{name} is alone" + (", and its links say nothing" if silently else ""))
    life.ports.registry.cut()
    life.ports.bus.cut()
    life.ports.faults.away = True
    if silently:
        here.wires.silence(life.address)
    else:
        here.wires.alone.add(life.address)
    away_s = rng.uniform(*AWAY_S)
    await asyncio.sleep(min(away_s, LEASE_TTL_S))
    if away_s > LEASE_TTL_S:
        here.expire(life)
        await asyncio.sleep(away_s - LEASE_TTL_S)
    here.wires.alone.discard(life.address)
    here.wires.mend(life.address)
    if life.address not in here.wires.dead:
        here.note(f"{name} is back")
        life.ports.faults.away = False
        life.ports.bus.heal()
        life.ports.registry.heal()


async def cut_a_wire(here: World, rng: random.Random) -> None:
    """Two nodes do not reach each other, or one does not reach the other."""
    if len(here.lives) < 2:
        return
    first, second = rng.sample(sorted(here.lives), 2)
    ways = [(here.lives[first].address, here.lives[second].address)]
    if rng.random() < 0.5:
        ways.append((ways[0][1], ways[0][0]))
    here.note(f"no way from {first} to {second}" + (" and back" if len(ways) == 2 else ""))
    here.wires.cut.update(ways)
    await asyncio.sleep(rng.uniform(*AWAY_S))
    here.wires.cut.difference_update(ways)


async def lose_a_lease(here: World, rng: random.Random) -> None:
    """A lease runs out although its node is well: others take over, and it finds out."""
    name = _somebody(here, rng)
    if name:
        here.expire(here.lives[name])


async def no_database(here: World, rng: random.Random) -> None:
    """What was asked may have been done, or not, or in part."""
    here.note("the database is away")
    here.database_away += 1
    await asyncio.sleep(rng.uniform(*AWAY_S))
    here.database_away -= 1
    here.note("the database is back")


async def no_database_for_one(here: World, rng: random.Random) -> None:
    """A node does not reach the database, and everything else: it keeps its lease."""
    name = _somebody(here, rng, "storage")
    if not name:
        return
    faults = here.lives[name].ports.faults
    here.note(f"{name} does not reach the database")
    faults.away = True
    await asyncio.sleep(rng.uniform(*AWAY_S))
    faults.away = False
    here.note(f"{name} reaches the database")


async def die_in_anothers_place(here: World, rng: random.Random) -> None:
    """No logic node reaches a storage node, so the others write in its place; the first of them to do so dies between
    messages and what follows from them. Then the one whose place it was, which knows nothing of it, is reached again.
    """
    names = sorted(name for name in here.lives if name.startswith("storage"))
    if len(names) < 2:
        return
    owner = rng.choice(names)
    ways = {(here.lives[each].address, here.lives[owner].address) for each in here.lives if each.startswith("logic")}
    died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    for name in names:
        if name != owner:
            here.dies_half_way(name, died)
    here.note(f"no logic node reaches {owner}")
    here.wires.cut.update(ways)
    await asyncio.wait([died], timeout=rng.uniform(*AWAY_S))
    here.wires.cut.difference_update(ways)
    if died.done():
        # Not before its lease has run out: until then nobody takes its death as a reason to forget.
        await asyncio.sleep(LEASE_TTL_S + rng.uniform(0.0, 2 * RESTART_S))
        here.start(died.result())
    died.cancel()


async def no_bus(here: World, rng: random.Random) -> None:
    here.note("the bus is away")
    here.broker.away()
    await asyncio.sleep(rng.uniform(*AWAY_S))
    here.broker.back()
    here.note("the bus is back")


async def no_registry(here: World, rng: random.Random) -> None:
    here.note("the registry is away")
    here.store.away()
    await asyncio.sleep(rng.uniform(*AWAY_S))
    here.store.back()
    here.note("the registry is back")


async def lose_records(here: World, rng: random.Random) -> None:
    """What a mailbox holds is gone before it was read: pushes are lost, messages are not."""
    name = _somebody(here, rng, "access")
    record = next((record for record, _ in here.store.nodes.values() if record.name == name), None)
    if record is not None and record.mailbox is not None:
        here.note(f"the mailbox of {name} loses what is in it")
        here.broker.drop("tidings.deliver", record.mailbox)


async def empty_the_bus(here: World, rng: random.Random) -> None:
    """The broker comes back with an empty disk: no topics, no records."""
    here.note("the bus has lost its disk")
    here.broker.away()
    here.broker.wipe()
    await asyncio.sleep(rng.uniform(*AWAY_S))
    here.broker.back()
    here.note("the bus is back, with nothing")


async def move_the_clock(here: World, rng: random.Random) -> None:
    """The time of day jumps, for good."""
    here.clock_jumps(rng.choice((-3600.0, -5.0, 5.0, 3600.0)))


# How often each of them is drawn, against the others.
FAULTS: dict[Fault, int] = {
    kill: 6,
    drain: 2,
    isolate: 3,
    cut_a_wire: 3,
    lose_a_lease: 2,
    no_database: 2,
    no_database_for_one: 2,
    die_in_anothers_place: 3,
    no_bus: 2,
    no_registry: 1,
    lose_records: 2,
    empty_the_bus: 1,
    move_the_clock: 1,
}


def draw(rng: random.Random) -> Fault:
    return rng.choices(list(FAULTS), list(FAULTS.values()))[0]


def _somebody(here: World, rng: random.Random, kind: str = "") -> str:
    names = sorted(name for name in here.lives if name.startswith(kind))
    return rng.choice(names) if names else ""
