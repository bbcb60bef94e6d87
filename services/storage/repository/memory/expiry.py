"""Messages that are gone at some time, in the twin in memory.

Guarantees: those of repository/contract.py. Does not know: what is erased of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from services.storage.repository.memory.port import MemoryPort
from services.storage.repository.records import MessageKey, StoredMessage, reactions_left_out
from tidings_protocol import client_pb2


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

    async def erase_changes(self, conversation: str, below: int) -> int:
        await self._faults.before("expiry.erase_changes")
        kept, count = self._data.messages[conversation], 0
        for seq, each in list(kept.items()):
            target = client_pb2.Change.FromString(each.act).seq if each.act else below
            if seq >= below > target and (conversation, seq) not in self._data.erased:
                act = reactions_left_out(target) if each.state else each.act
                kept[seq] = each._replace(content=b"", former=b"", mentions=(), state=b"", act=act)
                self._data.erased.add((conversation, seq))
                count += 1
        await self._faults.after("expiry.erase_changes")
        return count
