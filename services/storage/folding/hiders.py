"""The port to who has hidden an entry: they get a stub of its CHANGEs.

Guarantees of every implementation: an answer is what was durable when it was asked. Raises Unavailable.
Does not know: why it is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol

from services.storage.repository.records import MessageKey

# Who are told of as those who have hidden an entry of a large group: all nodes hear their names.
HIDERS_MAX: Final = 1000


class Audience(NamedTuple):
    """These users are to be told of a CHANGE of this entry; none: all who read the conversation by cursor."""

    target: MessageKey
    users: Sequence[str]


class Hiders(Protocol):
    async def among(self, audiences: Sequence[Audience]) -> list[Collection[str]]:
        """Who of each audience has hidden its entry, aligned; of all readers HIDERS_MAX at most."""
        ...


class NoHiders:
    """Nobody has hidden anything."""

    async def among(self, audiences: Sequence[Audience]) -> list[Collection[str]]:
        return [() for _ in audiences]
