"""The repository on MongoDB, ready to use."""

from __future__ import annotations

import pymongo

from services.storage.repository.contract import Repository
from services.storage.repository.mongo.changes import MongoChanges
from services.storage.repository.mongo.connection import MongoConnection
from services.storage.repository.mongo.conversations import MongoConversations, MongoMembers
from services.storage.repository.mongo.messages import MongoInboxes, MongoMessages
from services.storage.repository.mongo.schema import prepare
from services.storage.repository.mongo.sessions import MongoSessions, MongoUsers
from services.storage.repository.mongo.time import MongoTime

PREPARE_S = 600


def mongo_repository(connection: MongoConnection) -> Repository:
    """All ports on one connection; the schema is to be prepared before (schema.py)."""
    return Repository(
        messages=MongoMessages(connection),
        inboxes=MongoInboxes(connection),
        conversations=MongoConversations(connection),
        members=MongoMembers(connection),
        changes=MongoChanges(connection),
        sessions=MongoSessions(connection),
        users=MongoUsers(connection),
        time=MongoTime(connection),
    )


async def ensure_schema(connection: MongoConnection) -> None:
    """Collections and indexes are there. Raises Unavailable if MongoDB does not answer, Internal if it cannot be."""
    await connection.ping()
    # An index of data that is there already takes its time.
    with pymongo.timeout(PREPARE_S):
        await connection.run("prepare", "schema", lambda: prepare(connection.database))
