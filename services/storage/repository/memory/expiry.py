"""Messages that are gone at some time, in the twin in memory.

Guarantees: those of repository/contract.py. Does not know: what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.storage.repository.memory.port import MemoryPort
from services.storage.repository.records import ErasedMessage, StoredMessage


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

    async def erase(self, erased: Sequence[ErasedMessage]) -> None:
        await self._faults.before("expiry.erase")
        for each in erased:
            kept = self._data.messages[each.conversation]
            if present := kept.get(each.seq):
                kept[each.seq] = present._replace(content=b"", mentions=(), state=each.state)
                self._data.erased.add((each.conversation, each.seq))
        await self._faults.after("expiry.erase")
