"""Which changes of groups were made, by their op: what a repeat of one asks for.

A change with notices is in its first notice, one without is kept by its op for a day; both as they were asked for.

Guarantees: a change that is found was fenced: it is made, or will be by whoever loads the conversation next. It is read
from the database, so it is found whichever node made it.
Does not know: what follows from a change.
"""

from __future__ import annotations

from collections.abc import Collection

from protos.tidings.internal.v1 import storage_pb2
from services.storage.repository.contract import Repository
from services.storage.repository.records import ClientKey, OpKey
from tidings_protocol.content import notice_client_id

ChangeItem = storage_pb2.ChangeItem


class ChangesMade:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def find(self, keys: Collection[OpKey]) -> dict[OpKey, ChangeItem]:
        """The changes that were made, by op, as they were asked for; nothing is read for no keys."""
        if not keys:
            return {}
        found = await self.without_notices(keys)
        notices = {
            ClientKey(key.conversation, key.actor, notice_client_id(key.op, 0)): key for key in keys if key not in found
        }
        for client_key, message in (await self._repository.messages.find(notices)).items():
            if message.change:
                found[notices[client_key]] = ChangeItem.FromString(message.change)
        return found

    async def without_notices(self, keys: Collection[OpKey]) -> dict[OpKey, ChangeItem]:
        """Those changes that were made and have no notice, by op."""
        return {
            key: ChangeItem.FromString(change) for key, change in (await self._repository.changes.find(keys)).items()
        }
