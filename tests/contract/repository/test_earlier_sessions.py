"""What an earlier version left in MongoDB of sessions: indexes and documents."""

from __future__ import annotations

import pytest

from services.common.clock import SystemClock
from services.storage.repository.mongo.connection import connected
from services.storage.repository.mongo.repository import mongo_repository
from services.storage.repository.mongo.schema import SESSIONS, prepare
from services.storage.repository.records import ReplacedSession, SessionDocument
from tidings_protocol.ids import new_id


@pytest.mark.integration
async def test_sessions_of_an_earlier_version_are_read_and_its_index_is_gone(mongodb: str) -> None:
    clock, name = SystemClock(), f"earlier-{new_id()}"
    async with connected(mongodb, name, clock, timeout_s=10, connections_max=2, name="test") as connection:
        sessions = connection.database[SESSIONS]
        try:
            await sessions.create_index([("b", 1)], name="boot")
            await sessions.insert_one(
                {
                    "_id": "ann phone",
                    "u": "ann",
                    "s": "s2",
                    "k": 1,
                    "n": "access-0",
                    "b": "boot-1",
                    "t": 5,
                    "v": "app/1",
                }
                | {"p": ["s1", "access-1", "boot-0"]}
            )
            await prepare(connection.database)
            assert set(await sessions.index_information()) == {"_id_", "user", "held"}
            await prepare(connection.database)
            found = await mongo_repository(connection).sessions.of_users(["ann"])
            replaced = (ReplacedSession("s1", "access-1", "boot-0"),)
            assert found == {
                "ann": [SessionDocument("ann", "phone", "s2", 1, "access-0", "boot-1", 5, "app/1", replaced)]
            }
            query = sessions.find({"b": "boot-1", "_id": {"$gt": "a"}}).sort("_id", 1).hint("held")
            assert "SORT" not in str((await query.explain())["queryPlanner"]["winningPlan"])
        finally:
            await connection.database.client.drop_database(name)
