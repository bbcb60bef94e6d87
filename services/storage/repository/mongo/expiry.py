"""Messages that are gone at some time, in the log in MongoDB.

    log   xe when it is to be erased, until it is

Guarantees: those of the port. What is done with is in no index.
Does not know: what is erased of them.
"""

from __future__ import annotations

from collections.abc import Collection

from pymongo import UpdateOne

from services.storage.repository.keys import id_of_message
from services.storage.repository.mongo.connection import MongoConnection
from services.storage.repository.mongo.documents import message_of
from services.storage.repository.mongo.schema import CONVERSATIONS, EXPIRY, LOG
from services.storage.repository.records import MessageKey, StoredMessage


class MongoExpiry:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def due(self, now_ms: int, limit: int) -> list[StoredMessage]:
        found = await self._connection.find(
            "due", LOG, {"xe": {"$lte": now_ms}}, {"b": 0}, sort=[("xe", 1)], limit=limit, hint=EXPIRY
        )
        return [message_of(document) for document in found]

    async def done(self, keys: Collection[MessageKey]) -> None:
        updates = [UpdateOne({"_id": id_of_message(*key)}, {"$unset": {"xe": ""}}) for key in keys]
        await self._connection.update("done", LOG, updates)

    async def unpin(self, keys: Collection[MessageKey]) -> None:
        updates = [UpdateOne({"_id": conversation}, {"$pull": {"pi": seq}}) for conversation, seq in keys]
        await self._connection.update("unpin", CONVERSATIONS, updates)
