"""What users have hidden, of the twin in memory.

Guarantees: those of repository/contract.py. Does not know: what is in a message.
"""

from __future__ import annotations

from collections.abc import Collection

from services.storage.repository.memory.port import MemoryPort
from services.storage.repository.message_contract import HIDDEN_MAX
from services.storage.repository.records import NOTHING_HIDDEN, HiddenSeqs, MemberKey, MessageKey


class MemoryHidden(MemoryPort):
    async def hide(self, key: MemberKey, seqs: Collection[int], through: int) -> bool:
        await self._faults.before("hidden.hide")
        present = self._data.hidden.get(key, NOTHING_HIDDEN)
        through = max(present.through, through)
        single = frozenset(seq for seq in present.seqs.union(seqs) if seq > through)
        fits = len(single) <= HIDDEN_MAX
        if fits:
            self._data.hidden[key] = HiddenSeqs(through, single)
        await self._faults.after("hidden.hide")
        return fits

    async def of(self, keys: Collection[MemberKey]) -> dict[MemberKey, HiddenSeqs]:
        await self._faults.before("hidden.of")
        return {key: self._data.hidden[key] for key in keys if key in self._data.hidden}

    async def hiders(self, messages: Collection[MessageKey]) -> dict[MessageKey, set[str]]:
        await self._faults.before("hidden.hiders")
        found: dict[MessageKey, set[str]] = {}
        for conversation, seq in messages:
            for key, hidden in self._data.hidden.items():
                if key.conversation == conversation and hidden.hides(seq):
                    found.setdefault((conversation, seq), set()).add(key.user)
        return found
