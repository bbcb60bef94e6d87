"""Messages that are gone at some time, in the log in MongoDB.

    log   xe when it is to be erased, until it is

Guarantees: those of the port. A message that was erased has the highest of all revisions, so that nothing is folded
into it, and is in no index.
Does not know: what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import UpdateOne

from services.storage.repository.keys import id_of_message
from services.storage.repository.mongo.connection import MongoConnection
from services.storage.repository.mongo.documents import message_of
from services.storage.repository.mongo.schema import EXPIRY, LOG
from services.storage.repository.records import MAX_NUMBER, ErasedMessage, StoredMessage


class MongoExpiry:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def due(self, now_ms: int, limit: int) -> list[StoredMessage]:
        found = await self._connection.find(
            "due", LOG, {"xe": {"$lte": now_ms}}, {"b": 0}, sort=[("xe", 1)], limit=limit, hint=EXPIRY
        )
        return [message_of(document) for document in found]

    async def erase(self, erased: Sequence[ErasedMessage]) -> None:
        updates = [
            UpdateOne(
                {"_id": id_of_message(each.conversation, each.seq)},
                {"$set": {"b": b"", "w": each.state, "v": MAX_NUMBER}, "$unset": {"m": "", "xe": ""}},
            )
            for each in erased
        ]
        await self._connection.update("erase", LOG, updates)
