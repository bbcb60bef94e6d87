"""Messages that are gone at some time, in the twin in memory.

Guarantees: those of repository/contract.py. Does not know: what is erased of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from services.storage.repository.memory.port import MemoryPort
from services.storage.repository.records import MessageKey, StoredMessage


class MemoryExpiry(MemoryPort):
    async def due(self, now_ms: int, limit: int) -> list[StoredMessage]:
        await self._faults.before("expiry.due")
        found = [
            each._replace(content=b"")
            for kept in self._data.messages.values()
            for each in kept.values()
            if 0 < each.expires_ms <= now_ms and (each.conversation, each.seq) not in self._data.erased
        ]
        return sorted(found, key=lambda each: each.expires_ms)[:limit]

    async def done(self, keys: Collection[MessageKey]) -> None:
        await self._faults.before("expiry.done")
        self._data.erased.update(keys)
        await self._faults.after("expiry.done")

    async def unpin(self, keys: Collection[MessageKey]) -> None:
        await self._faults.before("expiry.unpin")
        for conversation, seq in keys:
            if present := self._data.conversations.get(conversation):
                pinned = tuple(each for each in present.pinned if each != seq)
                self._data.conversations[conversation] = replace(present, pinned=pinned)
        await self._faults.after("expiry.unpin")
