"""Messages whose text grows in the twin in memory.

Guarantees: those of repository/contract.py. Does not know: which part is wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from services.storage.repository.memory.port import MemoryPort
from services.storage.repository.records import MessageKey, StreamText


class MemoryStreams(MemoryPort):
    async def name(self, keys: Collection[MessageKey]) -> None:
        await self._faults.before("streams.name")
        for conversation, seq in keys:
            if present := self._data.conversations.get(conversation):
                streams = tuple(dict.fromkeys((*present.streams, seq)))
                self._data.conversations[conversation] = replace(present, streams=streams)
        await self._faults.after("streams.name")

    async def unname(self, keys: Collection[MessageKey]) -> None:
        await self._faults.before("streams.unname")
        for conversation, seq in keys:
            if present := self._data.conversations.get(conversation):
                streams = tuple(each for each in present.streams if each != seq)
                self._data.conversations[conversation] = replace(present, streams=streams)
        await self._faults.after("streams.unname")

    async def named(self, conversation: str, limit: int) -> list[tuple[str, tuple[int, ...]]]:
        await self._faults.before("streams.named")
        documents = self._data.conversations
        found = [(key, each.streams) for key, each in documents.items() if each.streams and key > conversation]
        return sorted(found)[:limit]

    async def write(self, texts: Sequence[StreamText]) -> None:
        await self._faults.before("streams.write")
        for text in texts:
            kept = self._data.messages[text.conversation]
            present = kept.get(text.seq)
            if present is not None and present.parts is not None and present.parts < text.parts:
                kept[text.seq] = present._replace(content=text.content, parts=text.parts)
        await self._faults.after("streams.write")
