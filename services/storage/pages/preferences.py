"""The port to what users prefer of their conversations, as lists show it.

Guarantees of every implementation: an answer leaves out the conversations of which nothing is preferred; what was
answered to the user's own request is in it.
Does not know: how preferences are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from protos.tidings.internal.v1.storage_pb2 import ConversationEntry
from tidings_protocol.client_pb2 import ConversationPreferences


class Preferences(Protocol):
    async def of(self, user: str, entries: Sequence[ConversationEntry]) -> Mapping[str, ConversationPreferences]:
        """What the user prefers of these, by conversation; the entries are as they were loaded. Raises Unavailable."""
        ...


class NoPreferences:
    """Nobody prefers anything."""

    async def of(self, user: str, entries: Sequence[ConversationEntry]) -> Mapping[str, ConversationPreferences]:  # noqa: ARG002
        """Nothing is preferred."""
        return {}
