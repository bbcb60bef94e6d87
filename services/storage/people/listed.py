"""Preferences as lists of conversations show them: the port of pages/preferences.py, over the store.

Guarantees: those of the port. Does not know: lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1.storage_pb2 import ConversationEntry
from services.storage.people.preferences import PreferenceStore, Standing
from tidings_protocol.client_pb2 import ConversationPreferences


class ListedPreferences:
    def __init__(self, store: PreferenceStore) -> None:
        self._store = store

    async def of(self, user: str, entries: Sequence[ConversationEntry]) -> Mapping[str, ConversationPreferences]:
        """What the user prefers of these, by conversation; the entries are as they were loaded. Raises Unavailable."""
        found = await self._store.of(
            [Standing(user, each.record.conversation, each.record.shown, each.me.joined_ms) for each in entries]
        )
        return {key.conversation: preferences for key, preferences in found.items()}
