"""Preferences, blocks and profiles of the twin in memory.

Guarantees: those of repository/people.py. Does not know: what follows from them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from services.storage.repository.memory.port import MemoryPort, those
from services.storage.repository.people import (
    BlockKey,
    PreferenceChange,
    PreferenceDocument,
    PreferenceKey,
    ProfileDocument,
)


class MemoryPreferences(MemoryPort):
    async def change(self, changes: Sequence[PreferenceChange]) -> dict[PreferenceKey, PreferenceDocument]:
        await self._faults.before("preferences.change")
        kept = self._data.preferences
        for change in changes:
            given = {name: value for name, value in change._asdict().items() if name != "key" and value is not None}
            before = kept.get(change.key) or PreferenceDocument(*change.key)
            kept[change.key] = replace(before, **given)
        await self._faults.after("preferences.change")
        return {change.key: kept[change.key] for change in changes}

    async def find(self, keys: Collection[PreferenceKey]) -> dict[PreferenceKey, PreferenceDocument]:
        await self._faults.before("preferences.find")
        return {key: self._data.preferences[key] for key in keys if key in self._data.preferences}

    async def marked(self, conversations: Collection[str]) -> dict[str, set[str]]:
        await self._faults.before("preferences.marked")
        found: dict[str, set[str]] = {}
        for key, document in self._data.preferences.items():
            if document.marked_unread and key.conversation in conversations:
                found.setdefault(key.conversation, set()).add(key.user)
        return found


class MemoryBlocks(MemoryPort):
    async def put(self, keys: Sequence[BlockKey], now_ms: int) -> None:
        await self._faults.before("blocks.put")
        for key in keys:
            self._data.blocks.setdefault(key, now_ms)
        await self._faults.after("blocks.put")

    async def remove(self, keys: Sequence[BlockKey]) -> None:
        await self._faults.before("blocks.remove")
        for key in keys:
            self._data.blocks.pop(key, None)
        await self._faults.after("blocks.remove")

    async def find(self, keys: Collection[BlockKey]) -> dict[BlockKey, int]:
        await self._faults.before("blocks.find")
        return {key: self._data.blocks[key] for key in keys if key in self._data.blocks}

    async def page(self, user: str, after: str, limit: int) -> list[str]:
        await self._faults.before("blocks.page")
        return sorted(key.blocked for key in self._data.blocks if key.user == user and key.blocked > after)[:limit]


class MemoryProfiles(MemoryPort):
    async def find(self, users: Collection[str]) -> dict[str, ProfileDocument]:
        await self._faults.before("profiles.find")
        return those(self._data.profiles, users)

    async def put(self, user: str, profile: bytes, op: str, expected: int) -> ProfileDocument | None:
        await self._faults.before("profiles.put")
        kept = self._data.profiles
        before = kept.get(user)
        version = before.version if before else 0
        if (before is None or before.op != op) and expected in (0, version):
            kept[user] = ProfileDocument(user, version + 1, profile, op)
        await self._faults.after("profiles.put")
        return kept.get(user)
