"""Removes sessions of nodes that died. They never count as online, whenever they are removed; but until then a list of
sessions has them, and they take room.

Guarantees: a session is removed only if two sweeps in a row have found its boot gone, with a registry that answered
both times, and it began a while ago: a node that has just registered, or that came while this one was cut off from the
registry or asleep, is not taken for dead. The user was last seen when the node was missed first, or, if it was never
known here, when the session began.
Does not know: connections.
"""

from __future__ import annotations

import asyncio

from services.common.clock import Clock
from services.common.telemetry import logs
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Repository
from services.storage.repository.records import SessionKey
from tidings_protocol.errors import TidingsError

YOUNG_MS = 60_000
STEP = 500
# One node sweeps: the owner of this slot.
SLOT = 0

log = logs.get_logger(__name__)


class SessionSweep:
    def __init__(self, repository: Repository, peers: StoragePeers, clock: Clock) -> None:
        self._repository = repository
        self._peers = peers
        self._clock = clock
        self._alive: frozenset[str] = frozenset()
        self._missed_ms: dict[str, int] = {}
        self._gone: frozenset[str] = frozenset()  # boots that the sweep before found gone

    async def run(self, interval_s: float) -> None:
        """Sweeps every `interval_s` seconds, until it is cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.sweep()
            except TidingsError as error:
                log.warning("sessions of dead nodes are removed later", error=error.message)

    async def sweep(self) -> int:
        """Sweeps once; how many sessions were removed. Raises Unavailable."""
        gone, self._gone = self._gone, frozenset()
        alive = self._peers.live_boots()
        if alive is None:
            return 0
        now_ms = self._clock.wall_ms()
        for boot_id in self._alive - alive:
            self._missed_ms[boot_id] = now_ms
        self._alive = alive
        if self._peers.owner_of(SLOT) is not None:
            return 0
        self._gone = frozenset(await self._repository.sessions.boots()) - alive
        removed = 0
        for boot_id in sorted(gone & self._gone):
            removed += await self._remove(boot_id, now_ms - YOUNG_MS)
        self._missed_ms = dict(list(self._missed_ms.items())[-STEP:])
        return removed

    async def _remove(self, boot_id: str, before_ms: int) -> int:
        removed, after = 0, ("", "")
        while found := await self._repository.sessions.under(boot_id, after, STEP):
            after = found[-1].user, found[-1].device
            stale = [session for session in found if session.since_ms < before_ms]
            seen: dict[str, int] = {}
            for session in stale:
                at_ms = self._missed_ms.get(boot_id, session.since_ms)
                seen[session.user] = max(at_ms, seen.get(session.user, 0))
            await self._repository.users.seen(seen)
            await self._repository.sessions.remove(
                [SessionKey(session.user, session.device, session.session) for session in stale]
            )
            removed += len(stale)
        return removed
