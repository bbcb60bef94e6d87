"""The wires of the simulated cluster: between nodes, from nodes to the backends, from clients to access nodes.

Everything takes time; some of it is lost, late or doubled, as `Weather` says. A node that is dead is heard by nobody,
whatever its code still tries to do while it is being cancelled.

Guarantees: what is drawn comes from the one generator given, so the same seed has the same weather. Clients'
connections keep their order, as TCP does.
Does not know: what is carried.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from services.common.bus.contract import Record
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.rpc import RpcServer, Service
from services.common.rpc.contract import Unreachable
from services.common.rpc.memory import MemoryNetwork, Passage
from services.common.scope import TaskScope
from tidings_protocol.errors import TidingsError, Unavailable


@dataclass(frozen=True, slots=True)
class Weather:
    """Shares are of calls; times in seconds."""

    delay_s: tuple[float, float] = (0.0002, 0.003)
    late: float = 0.0
    late_s: tuple[float, float] = (0.05, 1.5)
    lost: float = 0.0
    doubled: float = 0.0
    refused: float = 0.0  # by a backend, before it did anything
    unknown: float = 0.0  # a backend did it, and its answer was lost

    def draw_delay(self, rng: random.Random) -> float:
        if self.late and rng.random() < self.late:
            return rng.uniform(*self.late_s)
        return rng.uniform(*self.delay_s)


CALM = Weather()


class Wires(MemoryNetwork):
    """Calls between nodes, through the weather; `scope` owns the doubled calls."""

    def __init__(self, rng: random.Random, scope: TaskScope) -> None:
        super().__init__()
        self.weather = CALM
        self.fault = self._pass_weather
        self.dead: set[str] = set()  # lives that say nothing any more
        self.alone: set[str] = set()  # lives that reach nobody for a while
        self.cut: set[tuple[str, str]] = set()  # (from, to)
        self._silent: set[str] = set()  # lives whose links carry nothing now: what waits in them arrives when they do
        self._mended = asyncio.Event()
        self._rng = rng
        self._scope = scope

    def listen(self, listen: str, services: Sequence[Service]) -> AbstractAsyncContextManager[RpcServer]:
        """`serve` under the name that nodes know it by."""
        return self.serve(listen, services)

    def silence(self, life: str) -> None:
        """Nothing is refused and nothing arrives, from now on: a link without an end says nothing."""
        self._silent.add(life)

    def mend(self, life: str) -> None:
        """Mends the links of a node: they carry again, and what waited in them arrives."""
        self._silent.discard(life)
        self._mended.set()
        self._mended = asyncio.Event()

    async def carry(self, passage: Passage, request: bytes, timeout_s: float, traceparent: str) -> bytes:
        if self.weather.doubled and self._rng.random() < self.weather.doubled:
            self._scope.spawn(self._again(passage, request, timeout_s), name=f"doubled {passage.method}")
        return await super().carry(passage, request, timeout_s, traceparent)

    async def _again(self, passage: Passage, request: bytes, timeout_s: float) -> None:
        await asyncio.sleep(self._rng.uniform(*self.weather.late_s))
        try:
            async with asyncio.timeout(timeout_s):
                await super().carry(passage, request, timeout_s, "")
        except (TidingsError, TimeoutError):
            return

    async def _pass_weather(self, passage: Passage) -> None:
        while {passage.source, passage.address} & self._silent:
            await self._mended.wait()
        self._check(passage)
        await asyncio.sleep(self.weather.draw_delay(self._rng))
        if self.weather.lost and self._rng.random() < self.weather.lost:
            await asyncio.Event().wait()  # until the caller's deadline
        self._check(passage)

    def _check(self, passage: Passage) -> None:
        ends = {passage.source, passage.address}
        way = (passage.source, passage.address) if passage.phase == "request" else (passage.address, passage.source)
        if ends & self.dead or ends & self.alone or way in self.cut:
            raise Unreachable(f"the way from {way[0]} to {way[1]} is cut: try again")


class SimulatedBus(MemoryBus):
    """One node's bus: publishing takes time, may be refused, and may be done without an answer."""

    def __init__(self, broker: MemoryBroker, wires: Wires, rng: random.Random) -> None:
        super().__init__(broker)
        self._wires = wires
        self._rng = rng

    async def publish(self, records: Sequence[Record]) -> None:
        weather = self._wires.weather
        await asyncio.sleep(weather.draw_delay(self._rng))
        if weather.refused and self._rng.random() < weather.refused:
            raise Unavailable("the bus (Kafka) does not answer: try again")
        await super().publish(records)
        if weather.unknown and self._rng.random() < weather.unknown:
            raise Unavailable("the bus (Kafka) did not answer in time, and may have the records: try again")
        await asyncio.sleep(weather.draw_delay(self._rng))
