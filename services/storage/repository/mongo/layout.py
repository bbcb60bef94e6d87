"""Which layout of messages and inbox entries the database has: that of 0.1.0, or the log.

    meta   _id "layout"  v "log", once the log is all there is

Guarantees: a node works on the log only if nothing is left to be taken over, and from then on nothing is taken over any
more. Does not know: how it is taken over (migration.py).
"""

from __future__ import annotations

from services.storage.repository.mongo.connection import MongoConnection
from services.storage.repository.mongo.former import FORMER
from services.storage.repository.mongo.schema import META
from tidings_protocol.errors import Internal

LAYOUT = "layout"


async def use_log(connection: MongoConnection) -> None:
    """Declares the log to be all there is. Raises Internal if there is data of 0.1.0 that was not taken over."""
    if await is_log(connection):
        return
    if await former_data(connection):
        name = connection.database.name
        raise Internal(
            f"The database {name} holds messages of version 0.1.0 that were not taken over: run `tidings migrate` "
            "(docs/operations.md, Upgrade)"
        )
    await declare_log(connection)


async def is_log(connection: MongoConnection) -> bool:
    """Whether the log was declared to be all there is."""
    return bool(await connection.find("layout", META, {"_id": LAYOUT, "v": "log"}))


async def former_data(connection: MongoConnection) -> bool:
    """Whether there is any data in the layout of 0.1.0."""
    return any([await connection.find("layout", each.name, {}, {"_id": 1}, limit=1) for each in FORMER])


async def declare_log(connection: MongoConnection) -> None:
    meta = connection.collection(META)
    await connection.run("layout", META, lambda: meta.update_one({"_id": LAYOUT}, {"$set": {"v": "log"}}, upsert=True))
