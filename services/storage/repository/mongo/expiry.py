"""Messages that are gone at some time, in the log in MongoDB.

    log   xe when it is to be erased, until it is

Guarantees: those of the port. What is done with is in no index.
Does not know: what is erased of them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pymongo import UpdateOne

from services.storage.repository.keys import id_of_message
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.documents import message_of
from services.storage.repository.mongo.schema import BY_TARGET, CONVERSATIONS, EXPIRY, LOG
from services.storage.repository.records import MessageKey, StoredMessage, reactions_left_out

# CHANGEs of one command.
CHANGES_MAX: Final = 500


class MongoExpiry:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def due(self, now_ms: int, limit: int) -> list[StoredMessage]:
        found = await self._connection.find(
            "due", LOG, {"xe": {"$lte": now_ms}}, {"b": 0}, sort=[("xe", 1)], limit=limit, hint=EXPIRY
        )
        return [message_of(document) for document in found]

    async def done(self, keys: Collection[MessageKey]) -> None:
        updates = [UpdateOne({"_id": id_of_message(*key), "p": key[0]}, {"$unset": {"xe": ""}}) for key in keys]
        await self._connection.update("done", LOG, updates)

    async def unpin(self, keys: Collection[MessageKey]) -> None:
        updates = [UpdateOne({"_id": conversation}, {"$pull": {"pi": seq}}) for conversation, seq in keys]
        await self._connection.update("unpin", CONVERSATIONS, updates)

    async def erase_changes(self, conversation: str, below: int) -> int:
        query: Document = {"p": conversation, "x": {"$lt": below}, "_id": {"$gte": id_of_message(conversation, below)}}
        count = 0
        while found := await self._connection.find(
            "changes", LOG, query, {"x": 1, "w": 1}, limit=CHANGES_MAX, hint=BY_TARGET
        ):
            await self._connection.update("changes", LOG, [_silenced(conversation, document) for document in found])
            count += len(found)
        return count


def _silenced(conversation: str, change: Document) -> UpdateOne:
    """Only a CHANGE that tells of reactions has a state; what it tells is in its act. Without `x` nobody finds it by
    its target, which goes."""
    gone: Document = {"$unset": dict.fromkeys(("b", "h", "m", "w", "x"), "")}
    if "w" in change:
        gone["$set"] = {"a": reactions_left_out(change["x"])}
    return UpdateOne({"_id": change["_id"], "p": conversation}, gone)
