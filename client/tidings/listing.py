"""The list of conversations, put together from pages while it changes. Pure.

A later page also brings what moved up since the first one, perhaps twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidings.model import Conversation

LATEST_MS = 1 << 63


def newest_first(found: Sequence[Conversation], page: Sequence[Conversation]) -> list[Conversation]:
    """Each conversation once, as the later page says it, by the time of its last message.

    One without a message keeps its place behind the one that the server put before it.
    """
    merged = {conversation.id: conversation for conversation in found}
    for conversation in page:
        merged.pop(conversation.id, None)
        merged[conversation.id] = conversation
    placed: list[tuple[int, Conversation]] = []
    for conversation in merged.values():
        before = placed[-1][0] if placed else LATEST_MS
        placed.append((conversation.last.time_ms if conversation.last else before, conversation))
    return [conversation for _, conversation in sorted(placed, key=lambda one: -one[0])]
