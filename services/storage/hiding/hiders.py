"""Who has hidden an entry: of its CHANGEs these users are told the place alone.

Guarantees: an answer is what was durable when it was asked; entries that are asked about together are one read.
Does not know: what becomes of a CHANGE.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from services.storage.folding.hiders import HIDERS_MAX
from services.storage.repository.contract import Repository
from services.storage.repository.records import MessageKey


class MessageHiders:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def among(self, audiences: Sequence[tuple[MessageKey, Sequence[str]]]) -> list[Collection[str]]:
        """Who of the users of each (entry, users) has hidden the entry, aligned; no users: of all readers. Raises
        Unavailable.
        """
        found = await self._repository.hidden.hiders({entry for entry, _ in audiences})
        return [
            found.get(entry, set()).intersection(users) if users else sorted(found.get(entry, ()))[:HIDERS_MAX]
            for entry, users in audiences
        ]
