"""Removes sessions of nodes that died. Nobody counts them as online; they only lie about.

Guarantees: a session is removed only if its boot is not alive and it began a while ago, so that a node which has just
registered is not taken for dead. The user was last seen when the node was missed first, or, if it was never known here,
when the session began.
Does not know: connections.
"""

from __future__ import annotations

import asyncio

from services.common.clock import Clock
from services.common.errors import TidingsError
from services.common.telemetry import logs
from services.storage.neighbours import Neighbours
from services.storage.repository.contract import Repository
from services.storage.repository.records import SessionKey

YOUNG_MS = 60_000
STEP = 500
# One node sweeps: the owner of this slot.
SLOT = 0

log = logs.get_logger(__name__)


class SessionSweep:
    def __init__(self, repository: Repository, neighbours: Neighbours, clock: Clock) -> None:
        self._repository = repository
        self._neighbours = neighbours
        self._clock = clock
        self._alive: frozenset[str] = frozenset()
        self._missed_ms: dict[str, int] = {}

    async def run(self, interval_s: float) -> None:
        """Sweeps for ever, until it is cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.sweep()
            except TidingsError as error:
                log.warning("sessions of dead nodes are removed later", error=error.message)

    async def sweep(self) -> int:
        """How many sessions were removed."""
        alive = self._neighbours.live_boots()
        if alive is None:
            return 0
        now_ms = self._clock.wall_ms()
        for boot_id in self._alive - alive:
            self._missed_ms[boot_id] = now_ms
        self._alive = alive
        if self._neighbours.owner_of(SLOT) is not None:
            return 0
        removed = 0
        while stale := await self._repository.sessions.stale(alive, now_ms - YOUNG_MS, STEP):
            seen: dict[str, int] = {}
            for session in stale:
                at_ms = self._missed_ms.get(session.boot_id, session.since_ms)
                seen[session.user] = max(at_ms, seen.get(session.user, 0))
            await self._repository.users.seen(seen)
            await self._repository.sessions.remove(
                [SessionKey(session.user, session.device, session.session) for session in stale]
            )
            removed += len(stale)
        self._missed_ms = dict(list(self._missed_ms.items())[-STEP:])
        return removed
