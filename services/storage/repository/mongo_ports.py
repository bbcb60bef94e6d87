"""The repository on MongoDB, ready to use."""

from __future__ import annotations

from services.common.clock import Clock
from services.storage.repository.contract import Repository
from services.storage.repository.mongo import Connection
from services.storage.repository.mongo_conversations import MongoConversations, MongoMembers
from services.storage.repository.mongo_messages import MongoInboxes, MongoMessages
from services.storage.repository.mongo_sessions import MongoSessions, MongoUsers


def ports_of(connection: Connection, clock: Clock) -> Repository:
    """All ports on one connection; the schema is to be prepared before (schema.py)."""
    return Repository(
        messages=MongoMessages(connection),
        inboxes=MongoInboxes(connection),
        conversations=MongoConversations(connection),
        members=MongoMembers(connection, clock),
        sessions=MongoSessions(connection),
        users=MongoUsers(connection),
    )
