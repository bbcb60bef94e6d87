"""The repository on MongoDB, ready to use."""

from __future__ import annotations

import pymongo

from services.storage.repository.contract import Repository
from services.storage.repository.mongo.changes import MongoChanges
from services.storage.repository.mongo.connection import MongoConnection
from services.storage.repository.mongo.conversations import MongoConversations, MongoMembers
from services.storage.repository.mongo.expiry import MongoExpiry
from services.storage.repository.mongo.feed import MongoFeed
from services.storage.repository.mongo.groups import mongo_groups
from services.storage.repository.mongo.hidden import MongoHidden
from services.storage.repository.mongo.layout import use_log
from services.storage.repository.mongo.log import MongoLog
from services.storage.repository.mongo.messages import MongoInboxes, MongoMessages
from services.storage.repository.mongo.people import MongoBlocks, MongoPreferences, MongoProfiles
from services.storage.repository.mongo.reactions import MongoReactions
from services.storage.repository.mongo.schema import prepare
from services.storage.repository.mongo.sessions import MongoSessions, MongoUsers
from services.storage.repository.mongo.streams import MongoStreams
from services.storage.repository.mongo.time import MongoTime

PREPARE_S = 600


def mongo_repository(connection: MongoConnection) -> Repository:
    """All ports on one connection, whose schema is there (`ensure_schema`)."""
    return Repository(
        log=MongoLog(connection),
        messages=MongoMessages(connection),
        inboxes=MongoInboxes(connection),
        conversations=MongoConversations(connection),
        members=MongoMembers(connection),
        changes=MongoChanges(connection),
        feed=MongoFeed(connection),
        sessions=MongoSessions(connection),
        users=MongoUsers(connection),
        preferences=MongoPreferences(connection),
        blocks=MongoBlocks(connection),
        profiles=MongoProfiles(connection),
        time=MongoTime(connection),
        hidden=MongoHidden(connection),
        streams=MongoStreams(connection),
        expiry=MongoExpiry(connection),
        reactions=MongoReactions(connection),
        groups=mongo_groups(connection),
    )


async def ensure_schema(connection: MongoConnection) -> None:
    """Makes the collections and indexes that are missing. Raises Unavailable if MongoDB does not answer, Internal if
    something else is in their place, or data of 0.1.0 that was not taken over.
    """
    await make_schema(connection)
    await use_log(connection)


async def make_schema(connection: MongoConnection) -> None:
    """The same, whatever data there are."""
    await connection.ping()
    # An index of data that is there already takes its time.
    with pymongo.timeout(PREPARE_S):
        await connection.run("prepare", "schema", lambda: prepare(connection.database))
