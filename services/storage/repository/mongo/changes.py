"""Changes of groups without notices, in MongoDB, by their op.

    changes   _id "conversation actor op"  c conversation  b change  z stamp  x when it was made

Guarantees: those of the ports.
Does not know: what a change is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from pymongo import UpdateOne

from services.storage.repository.keys import paired, pairs_of
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.schema import CHANGES
from services.storage.repository.records import MadeChange, OpKey


class MongoChanges:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def keep(self, changes: Sequence[MadeChange]) -> None:
        updates = [
            UpdateOne(
                {"_id": _id(change.key), "c": change.key.conversation},
                {"$setOnInsert": {"b": change.change, "z": change.stamp, "x": _date(change.time_ms)}},
                upsert=True,
            )
            for change in changes
        ]
        await self._connection.update("keep", CHANGES, updates)

    async def find(self, keys: Collection[OpKey]) -> dict[OpKey, bytes]:
        if not keys:
            return {}
        by_id = {_id(key): key for key in keys}
        found = await self._connection.find("find", CHANGES, {"_id": {"$in": list(by_id)}})
        return {by_id[document["_id"]]: document["b"] for document in found}

    async def after(self, conversation: str, stamp: int) -> list[MadeChange]:
        low, high = pairs_of(conversation)
        query = {"_id": {"$gte": low, "$lt": high}, "z": {"$gt": stamp}}
        found = await self._connection.find("after", CHANGES, query, hint=[("_id", 1)])
        return sorted((_made(document) for document in found), key=lambda each: each.stamp)


def _made(document: Document) -> MadeChange:
    conversation, actor, op = document["_id"].split(" ", 2)
    return MadeChange(OpKey(conversation, actor, op), document["b"], _ms(document["x"]), document["z"])


def _date(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _ms(date: datetime) -> int:
    return round(date.replace(tzinfo=UTC).timestamp() * 1000)


def _id(key: OpKey) -> str:
    return paired(key.conversation, paired(key.actor, key.op))
