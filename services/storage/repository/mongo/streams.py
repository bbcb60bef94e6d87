"""Messages whose text grows in MongoDB: their texts in the log, their names in the documents of their conversations.

    log            n how many parts are in the text, until the stream ends       conversations   st seqs that are open

Guarantees: those of the port. A text that is written late, by a node that was the owner before, finds more parts, or
that the stream has ended, and stays out.
Does not know: which part is wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pymongo import UpdateOne

from services.storage.repository.keys import id_of_message
from services.storage.repository.mongo.connection import MongoConnection
from services.storage.repository.mongo.schema import CONVERSATIONS, LOG, STREAMS
from services.storage.repository.records import MessageKey, StreamText


class MongoStreams:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def name(self, keys: Collection[MessageKey]) -> None:
        updates = [UpdateOne({"_id": conversation}, {"$addToSet": {"st": seq}}) for conversation, seq in keys]
        await self._connection.update("name", CONVERSATIONS, updates)

    async def unname(self, keys: Collection[MessageKey]) -> None:
        updates = [UpdateOne({"_id": conversation}, {"$pull": {"st": seq}}) for conversation, seq in keys]
        await self._connection.update("unname", CONVERSATIONS, updates)
        # Only documents that name one are in the index.
        empty = [UpdateOne({"_id": key, "st": []}, {"$unset": {"st": ""}}) for key in dict.fromkeys(c for c, _ in keys)]
        await self._connection.update("unname", CONVERSATIONS, empty)

    async def named(self, conversation: str, limit: int) -> list[tuple[str, tuple[int, ...]]]:
        query = {"st": {"$exists": True}, "_id": {"$gt": conversation}}
        found = await self._connection.find(
            "named", CONVERSATIONS, query, {"st": 1}, sort=[("_id", 1)], limit=limit, hint=STREAMS
        )
        return [(document["_id"], tuple(document["st"])) for document in found]

    async def write(self, texts: Sequence[StreamText]) -> None:
        updates = [
            UpdateOne(
                {
                    "_id": id_of_message(text.conversation, text.seq),
                    "p": text.conversation,
                    "n": {"$lt": text.parts},
                },
                {"$set": {"b": text.content, "n": text.parts}},
            )
            for text in texts
        ]
        await self._connection.update("text", LOG, updates)
