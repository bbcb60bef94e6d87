"""This node's time in the cluster: joining, coming back after its lease was lost, leaving.

Guarantees: a node is `ready` only while it reads its mailbox. After a lost lease it comes back by itself under a new
boot id; the sessions of the old boot are ended at a pace (drain.py says why), and served until then; a lease that is
lost again meanwhile does not wait for that. What cannot be done because etcd or Kafka is away is tried again until it
can; a node that leaves waits for neither: its goodbyes begin at once.

Does not know: how leases work, what clients do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from services.access.cluster.drain import Farewell, pace_for
from services.access.cluster.head_checks import HeadChecks
from services.access.cluster.registration import Registration
from services.access.connections import Connections
from services.access.delivery.mailbox import Mailbox
from services.access.placement.visit_calls import VisitCalls
from services.access.session.session import Phase
from services.common.bus.contract import Bus
from services.common.clock import Clock
from services.common.cluster import Cluster
from services.common.gatherer import RETRY_S
from services.common.registry.contract import Registry
from services.common.scope import TaskScope
from services.common.telemetry import logs
from services.common.telemetry.health import Health
from tidings_protocol.errors import Unavailable

CHECK_S: Final = 1.0
# How long the goodbyes wait for the registry to know that this node leaves.
TOLD_S: Final = 1.0

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeavingRules:
    """The pace of the drain, and its deadline."""

    pace_per_s: float
    deadline_s: float


class NodeMembership:
    """`join`, then `keep_joined` in the background, then `drain`."""

    def __init__(
        self,
        registry: Registry,
        registration: Registration,
        mailbox: Mailbox,
        connections: Connections,
        visit_calls: VisitCalls,
        farewell: Farewell,
        checks: HeadChecks,
        health: Health,
        clock: Clock,
        rules: LeavingRules,
    ) -> None:
        self._registry = registry
        self._registration = registration
        self._mailbox = mailbox
        self._connections = connections
        self._visit_calls = visit_calls
        self._farewell = farewell
        self._checks = checks
        self._health = health
        self._clock = clock
        self._rules = rules
        self._leaving = False
        self._rejoining: asyncio.Task[None] | None = None
        self._parting: asyncio.Task[None] | None = None  # from the sessions of a boot before

    def is_staying(self) -> bool:
        """Whether this node is in the ring, as far as that depends on itself."""
        return not self._leaving and self._registration.record.state == "ready"

    async def join(self) -> None:
        """Registers, claims a mailbox and reads it. Raises CannotStart."""
        await _persist(self._registration.begin, "this node cannot be registered yet")
        await self._mailbox.attach(self._registration.mailbox)

    async def open_doors(self) -> None:
        """Takes connections, then joins the ring."""
        self._connections.accept()
        await self._registration.set_state("ready")
        self._health.started()

    async def keep_joined(self) -> None:
        """Joins again whenever the lease was lost; for ever."""
        async with TaskScope() as scope:
            while await self._is_lost():
                # The registry has counted and told it.
                log.info("coming back as a new boot", reason=self._registry.lost_because)
                self._rejoining = scope.spawn(self._rejoin(), name="coming back")
                await asyncio.wait((self._rejoining,))
                self._rejoining = None
                if self._parting is not None:
                    self._parting.cancel()
                self._parting = scope.spawn(self._part(), name="parting from the boot before")

    async def drain(self, *, asked_per_s: float) -> None:
        """Returns when the clients are gone, or the deadline is near."""
        self._leaving = True
        self._connections.refuse()
        self._health.set("drain", ok=False, reason="the node is draining")
        async with TaskScope() as scope:
            if self._rejoining is None:
                telling = scope.spawn(self._registration.set_state("draining"), name="telling that it leaves")
                await asyncio.wait((telling,), timeout=TOLD_S)
            else:
                # It waits for etcd, perhaps for long, and is in nobody's ring.
                self._rejoining.cancel()
            await self._say_goodbye(asked_per_s=asked_per_s)
            if not await self._connections.wait_empty(self._rules.deadline_s / 4):
                log.warning("connections are left at the end of the drain", connections=len(self._connections))

    async def evacuate(self) -> None:
        """Nobody hears this node (isolation.py): its clients go to others, and no new ones are taken."""
        self._connections.refuse()
        await self._say_goodbye(at_once=True)

    def readmit(self) -> None:
        """The node is heard again: new clients are taken."""
        if not self._leaving:
            self._connections.accept()

    # ---- inside

    async def _is_lost(self) -> bool:
        """Waits for it; False: this node leaves anyway."""
        if not self._leaving:
            await self._registry.lost.wait()
        return not self._leaving

    async def _say_goodbye(self, *, asked_per_s: float = 0, at_once: bool = False) -> None:
        connections = list(self._connections)
        pace = self._pace(len(connections), asked_per_s)
        log.info("saying goodbye", connections=len(connections), pace_per_s=round(pace, 1))
        await self._farewell.say(connections, pace, at_once=at_once)

    def _pace(self, sessions: int, asked_per_s: float = 0) -> float:
        return pace_for(
            sessions,
            asked_per_s=asked_per_s,
            setting_per_s=self._rules.pace_per_s,
            deadline_s=self._rules.deadline_s,
        )

    async def _rejoin(self) -> None:
        since_ms = self._clock.wall_ms()
        await _persist(lambda: self._registration.rejoin(since_ms=since_ms), "this node cannot come back yet")
        self._visit_calls.visits.clear()
        await self._mailbox.attach(self._registration.mailbox)
        if not self._leaving:
            await self._registration.set_state("ready")
        self._checks.check_all()

    async def _part(self) -> None:
        """Whoever was taken under a boot of before logs in again. One who leaves says other goodbyes."""
        if self._leaving:
            return
        boot_id = self._registration.me().boot_id
        old = [
            each for each in self._connections if each.session.phase is Phase.OPEN and each.identity.boot_id != boot_id
        ]
        await self._farewell.say(old, self._pace(len(old)), staying=True)


async def watch_health(registry: Registry, bus: Bus, cluster: Cluster, health: Health) -> None:
    """What is away shows in /readyz as degraded; for ever."""
    while True:
        has_logic = bool(cluster.ring("logic").members)
        health.set("etcd", registry.connected, "etcd does not answer: membership stays", degraded=True)
        health.set("kafka", bus.connected, f"{bus.trouble}: messages come late", degraded=True)
        health.set("logic", has_logic, "no logic node is ready: requests are refused", degraded=True)
        await asyncio.sleep(CHECK_S)


async def _persist(work: Callable[[], Awaitable[None]], sentence: str) -> None:
    while True:
        try:
            return await work()
        except Unavailable as error:
            log.warning(sentence, error=error.message)
            await asyncio.sleep(RETRY_S)
