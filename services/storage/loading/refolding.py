"""Folds the CHANGEs of tails once more: a node that is gone may have stored them and got no further.

Guarantees: afterwards all that the CHANGEs of these tails make of their targets, and of what is pinned, is durable, and
so is what they took away. What was folded already stays as it is. The tails are read in parts, so that the contents of
a few CHANGEs are in memory at once.
Does not know: conversations that have no CHANGE in their tail; who may change what.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from services.storage.folding.fold import folded, pinned_after
from services.storage.folding.shown import target_key
from services.storage.folding.writer import Changed, FoldWriter
from services.storage.memory.conversation import CachedConversation
from services.storage.repository.contract import Repository
from services.storage.repository.records import CHANGE, MessageKey, PinList, StoredMessage

# CHANGEs, with their contents, and targets that are in memory at once.
PART: Final = 100


class Refolding:
    def __init__(self, repository: Repository, writer: FoldWriter) -> None:
        self._repository = repository
        self._writer = writer

    async def run(
        self, conversations: Sequence[CachedConversation], tails: Mapping[str, Sequence[StoredMessage]]
    ) -> None:
        """Folds; the conversations have what is pinned then. Raises Unavailable."""
        changes = [each for key in conversations for each in tails[key.id] if each.kind == CHANGE]
        for start in range(0, len(changes), PART):
            await self._fold(changes[start : start + PART])
        await self._pin(conversations, tails)

    async def _fold(self, changes: Sequence[StoredMessage]) -> None:
        """Folds these, which are in the order of their conversations' logs, and were read without their content."""
        named = {(each.conversation, each.seq): key for each in changes if (key := target_key(each)) is not None}
        found = await self._repository.messages.get([*named, *dict.fromkeys(named.values())])
        after: dict[MessageKey, StoredMessage] = {}
        for key, target in named.items():
            present = after.get(target) or found.get(target)
            change = found.get(key)  # None: retention has removed it meanwhile
            if present is not None and change is not None:
                after[target] = folded(present, change)
        await self._writer.write([Changed(found[key], entry) for key, entry in after.items()], (), again=True)

    async def _pin(
        self, conversations: Sequence[CachedConversation], tails: Mapping[str, Sequence[StoredMessage]]
    ) -> None:
        lists: list[PinList] = []
        for conversation in conversations:
            document = conversation.document
            pinned, at = document.pinned, document.pinned_at
            for change in tails[conversation.id]:
                if change.kind == CHANGE and change.seq > at and (now := pinned_after(pinned, change)) != pinned:
                    pinned, at = now, change.seq
            if at != document.pinned_at:
                conversation.document = replace(document, pinned=pinned, pinned_at=at)
                lists.append(PinList(conversation.id, pinned, at))
        await self._writer.write((), lists)
