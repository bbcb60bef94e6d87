"""One simulated cluster: nodes that live, die and come back on twins that outlast them, and devices that talk through
them.

What is durable (database, broker, registry) is here; a node is one life after the other under one name, as the local
stack starts again what dies. A node that dies says nothing more from that moment on: every port of its life is cut
before its code is cancelled.

Guarantees: everything that is drawn comes from the seed. Leases run out `lease_ttl_s` after a death, as in etcd.
Does not know: what is right (checker.py), what happens when (scenario.py).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from services.common.bus.memory import MemoryBroker
from services.common.lifecycle import Lifecycle
from services.common.registry.contract import NodeKind
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.rpc.memory import MemoryPeers
from services.common.scope import TaskScope
from services.storage.repository.memory import Database, Faults
from tests.simulation.judging.stream import heard_into
from tests.simulation.judging.witness import Witness
from tests.simulation.nodes import LEASE_TTL_S, Door, Ports, life_of, token_of
from tests.simulation.virtual.line import Line
from tests.simulation.virtual.loop import LISTENING
from tests.simulation.virtual.machine import Machine
from tests.simulation.virtual.network import SimulatedBus, Wires
from tests.support.device.device import Device, Hint, Pipe
from tests.support.histories.history import History
from tidings_protocol.errors import TidingsError, Unavailable

RESTART_S = 1.0


@dataclass(slots=True, eq=False)
class Life:
    """One life of a node's process."""

    name: str
    kind: NodeKind
    address: str
    ports: Ports
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    door: Door = field(default_factory=Door)
    lines: list[Line] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class World:
    """Use `async with world(seed)`."""

    def __init__(self, seed: int, machine: Machine, scope: TaskScope) -> None:
        self.seed = seed
        self.machine = machine
        self.rng = random.Random(f"world {seed}")
        self.scope = scope
        self.store = MemoryStore()
        self.broker = MemoryBroker()
        self.database = Database()
        self.wires = Wires(random.Random(f"wires {seed}"), scope)
        self.history = History()
        self.witness = Witness(self.database, self.history)
        self.lives: dict[str, Life] = {}
        self.devices: list[Device] = []
        self.log: list[str] = []
        self.database_away = 0  # how many faults hold it
        self._births = 0

    # ---- nodes

    def start(self, name: str) -> None:
        """A new life under this name."""
        self._births += 1
        kind: NodeKind = name.split("-", maxsplit=1)[0]  # type: ignore[assignment]
        address = f"{name}.{self._births}:1"
        faults = Faults()
        faults.delay = self._database_weather
        ports = Ports(
            registry=MemoryRegistry(self.store),
            bus=SimulatedBus(self.broker, self.wires, random.Random(f"bus {self.seed} {self._births}")),
            peers=MemoryPeers(self.wires, address),
            network=self.wires,
            repository=self.database.repository(faults),
            faults=faults,
        )
        life = Life(name, kind, address, ports)
        self.lives[name] = life
        life.task = self.scope.spawn(self._live(life), name=f"life of {name}")
        self.note(f"{name} starts")

    def kill(self, name: str) -> None:
        """Ends a node as kill -9 does: nothing of it is heard any more; the lease runs out later."""
        life = self.lives.pop(name)
        self.note(f"{name} dies")
        life.ports.registry.crash()
        life.ports.bus.cut()
        life.ports.faults.away = True
        self.wires.dead.add(life.address)
        for line in life.lines:
            line.die(silently=self.rng.random() < 0.5)
        assert life.task is not None
        life.task.cancel()
        self.scope.spawn(self._expire_later(life), name=f"lease of {name}")

    def dies_half_way(self, name: str, died: asyncio.Future[str]) -> None:
        """The node dies when it has stored messages of several chats and is about to write their inbox entries, or in
        the midst of an insert of both, unless `died` is done or cancelled by then.
        """
        faults = self.lives[name].ports.faults

        def die() -> None:
            if name in self.lives and self.lives[name].ports.faults is faults and not died.done():
                died.set_result(name)
                self.kill(name)

        async def before(command: str) -> None:
            await self._database_weather(command)
            if len(self.witness.half_done()) > 1 and command == "inbox.insert":
                die()
            elif command == "log.insert" and not died.done():
                faults.cut(self.rng.randint(1, 4))
                asyncio.get_running_loop().call_soon(die)

        faults.delay = before

    async def drain(self, name: str) -> None:
        """Drains a node as SIGTERM does: returns when it has left."""
        self.note(f"{name} drains")
        life = self.lives.pop(name)
        life.lifecycle.request_stop()
        assert life.task is not None
        await life.task

    async def ready(self, count: int) -> None:
        """Waits until so many nodes are ready."""
        while sum(record.state == "ready" for record, _ in self.store.nodes.values()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    def note(self, what: str) -> None:
        """A line of the story, for whoever looks into a failed seed."""
        self.log.append(f"{asyncio.get_running_loop().time():9.3f}  {what}")

    def expire(self, life: Life) -> None:
        """Lets a lease run out now, if it is still there."""
        entry = self.store.nodes.get(life.name)
        if entry is not None and entry[1] is life.ports.registry:
            self.store.expire(life.name)
            self.note(f"the lease of {life.name} runs out")

    def clock_jumps(self, seconds: float) -> None:
        """The time of day moves, everywhere."""
        self.note(f"the clocks jump by {seconds:g} s")
        self.machine.jump_s += seconds

    # ---- devices

    def device(self, user: str, name: str, *, obeys: bool = False, twin: int = 0) -> Device:
        """A device that is on from now on; `twin`: one of several that say they are the same."""
        device = Device(
            user=user,
            name=name,
            token=lambda: token_of(user),
            dial=self._dial,
            history=self.history,
            rng=random.Random(f"device {self.seed} {user} {name}" + (f" {twin}" if twin else "")),
            obeys=obeys,
            attempt=None if name == "web" else 0,
        )
        self.devices.append(device)
        self.scope.spawn(device.run(), name=f"device {user}/{name}")
        return device

    # ---- inside

    async def _live(self, life: Life) -> None:
        LISTENING.set(life.door.protocols)
        try:
            await life_of(life.name, life.kind, life.address, life.ports, life.lifecycle)
        except BaseException as error:
            if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
                error = error.exceptions[0]
            if life.address in self.wires.dead:
                return  # whatever a dead node's code says on its way out
            self.note(f"{life.name} ends: {error!r}")
            if not isinstance(error, TidingsError):  # that one says that it cannot start, or go on, as things are
                raise
            self.scope.spawn(self._restart(life), name=f"restart of {life.name}")

    async def _restart(self, life: Life) -> None:
        """Restarts a node, as the local stack does with what dies by itself."""
        await asyncio.sleep(RESTART_S)
        if self.lives.get(life.name) is life:
            self.start(life.name)

    async def _expire_later(self, life: Life) -> None:
        await asyncio.sleep(LEASE_TTL_S)
        self.expire(life)

    async def _dial(self, hint: Hint) -> Pipe:
        await asyncio.sleep(self.rng.uniform(0.001, 0.01))
        open_ = {life: protocol for life in self.lives.values() if (protocol := life.door.open()) is not None}
        chosen = next((life for life in open_ if hint.address == life.address), None)
        if chosen is None:
            if not open_:
                raise OSError("no access node answers")
            chosen = self.rng.choice(list(open_))
        line = Line(open_[chosen](), random.Random(self.rng.random()), chosen.lines.remove)
        chosen.lines.append(line)
        return line.pipe

    async def _database_weather(self, _: str) -> None:
        """Before each command and after each write: what fails then has been done all the same."""
        weather = self.wires.weather
        await asyncio.sleep(weather.draw_delay(self.rng))
        if self.database_away or (weather.refused and self.rng.random() < weather.refused / 2):
            raise Unavailable("the message store does not answer: try again")


@asynccontextmanager
async def world(seed: int, machine: Machine) -> AsyncIterator[World]:
    """A world that ends with everything in it."""
    async with TaskScope() as scope:
        here = World(seed, machine, scope)
        with heard_into(here.history):
            yield here
