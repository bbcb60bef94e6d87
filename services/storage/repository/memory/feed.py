"""What the feed of events knows of the twin in memory as a whole: positions and heartbeats.

Guarantees: those of repository/contract.py. Does not know: events.
"""

from __future__ import annotations

from collections.abc import Collection

from services.storage.repository.memory.port import MemoryPort
from services.storage.repository.records import Heartbeat


class MemoryFeed(MemoryPort):
    async def position(self) -> int:
        await self._faults.before("feed.position")
        return len(self._data.written)

    async def written_after(self, position: int) -> set[str] | None:
        await self._faults.before("feed.written_after")
        return None if position < self._data.forgotten else set(self._data.written[position:])

    async def beat(self, heartbeat: Heartbeat) -> None:
        await self._faults.before("feed.beat")
        self._data.heartbeats[heartbeat.boot_id] = heartbeat.position
        await self._faults.after("feed.beat")

    async def heartbeats(self) -> list[Heartbeat]:
        await self._faults.before("feed.heartbeats")
        return [Heartbeat(boot_id, position) for boot_id, position in self._data.heartbeats.items()]

    async def forget(self, boots: Collection[str]) -> None:
        await self._faults.before("feed.forget")
        for boot_id in boots:
            self._data.heartbeats.pop(boot_id, None)
        await self._faults.after("feed.forget")
