"""What the feed of events knows of MongoDB as a whole: positions in the oplog, and heartbeats.

    meta   _id "told boot"  v position          a position is a time of the oplog: seconds, then 32 bits of a counter

Guarantees: those of the port. What was written is read with a change stream, which sees what a majority has.
Does not know: events.
"""

from __future__ import annotations

from collections.abc import Collection

import pymongo
from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure

from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.schema import CHANGES, LOG, META
from services.storage.repository.records import Heartbeat

PREFIX = "told "
# A change stream is read within this time; what is not read then is read from its beginning, the next time.
READ_S = 60
# How long the server looks for more before it says that there is none.
AWAIT_MS = 200
# The oplog does not reach back so far, or the position is of another one.
FORGOTTEN = frozenset({280, 286, 326})


class MongoFeed:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def position(self) -> int:
        admin = self._connection.database.client.admin
        hello = await self._connection.run("position", "admin", lambda: admin.command("hello"))
        return _number(hello["operationTime"])

    async def written_after(self, position: int) -> set[str] | None:
        after, until = _time(position + 1), _time(await self.position())
        # Entries of inboxes have no `k`.
        messages = await self._read(LOG, "p", {"fullDocument.k": {"$exists": True}}, after, until)
        changes = await self._read(CHANGES, "c", {}, after, until)
        return None if messages is None or changes is None else messages | changes

    async def beat(self, heartbeat: Heartbeat) -> None:
        update = pymongo.UpdateOne(
            {"_id": PREFIX + heartbeat.boot_id}, {"$set": {"v": heartbeat.position}}, upsert=True
        )
        await self._connection.update("beat", META, [update])

    async def heartbeats(self) -> list[Heartbeat]:
        query = {"_id": {"$gte": PREFIX, "$lt": PREFIX[:-1] + "!"}}
        found = await self._connection.find("heartbeats", META, query)
        return [Heartbeat(document["_id"].removeprefix(PREFIX), document["v"]) for document in found]

    async def forget(self, boots: Collection[str]) -> None:
        query = {"_id": {"$in": [PREFIX + boot_id for boot_id in boots]}}
        collection = self._connection.collection(META)
        await self._connection.run("forget", META, lambda: collection.delete_many(query))

    async def _read(self, name: str, key: str, match: Document, after: Timestamp, until: Timestamp) -> set[str] | None:
        """The values of this field in all inserts from one time to the other, both included."""
        pipeline: list[Document] = [
            {"$match": {"operationType": "insert", **match}},
            {"$project": {"clusterTime": 1, "c": f"$fullDocument.{key}"}},
        ]
        found: set[str] = set()

        async def call() -> set[str]:
            async with self._connection.collection(name).watch(
                pipeline, start_at_operation_time=after, max_await_time_ms=AWAIT_MS
            ) as stream:
                while (change := await stream.try_next()) is not None and change["clusterTime"] <= until:
                    found.add(change["c"])
            return found

        async def until_forgotten() -> set[str] | None:
            try:
                return await call()
            except OperationFailure as error:
                if error.code in FORGOTTEN:
                    return None
                raise

        with pymongo.timeout(READ_S):
            return await self._connection.run("watch", name, until_forgotten)


def _number(time: Timestamp) -> int:
    return (time.time << 32) | time.inc


def _time(number: int) -> Timestamp:
    return Timestamp(number >> 32, number & 0xFFFFFFFF)
