"""The repositories that the contract suite runs on: the twin in memory, and MongoDB.

TIDINGS_X_MONGODB names a replica set that runs already; without it the tests start the real backends.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.common.clock import SystemClock
from services.storage.repository.contract import Repository
from services.storage.repository.memory import Database
from services.storage.repository.mongo.connection import MongoConnection, connected
from services.storage.repository.mongo.repository import mongo_repository
from services.storage.repository.mongo.schema import prepare
from tidings_protocol.ids import new_id

_MONGODB = os.environ.get("TIDINGS_X_MONGODB", "")


@pytest.fixture(scope="session")
def mongodb(request: pytest.FixtureRequest) -> str:
    """The URI of a replica set."""
    if _MONGODB:
        return _MONGODB
    found: str = request.getfixturevalue("real_backends").mongodb
    return found


class ShardedConnection(MongoConnection):
    """A replica set that is taken for a sharded cluster."""

    @property
    def is_sharded(self) -> bool:
        return True


@asynccontextmanager
async def on_mongodb(uri: str, *, sharded: bool = False) -> AsyncIterator[Repository]:
    clock = SystemClock()
    name = f"contract-{new_id()}"
    async with connected(uri, name, clock, timeout_s=10, connections_max=8, name="test") as connection:
        await prepare(connection.database)
        try:
            opened = ShardedConnection(connection.database, clock, 10) if sharded else connection
            yield mongo_repository(opened)
        finally:
            await connection.database.client.drop_database(name)


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.integration)])
async def repository(request: pytest.FixtureRequest) -> AsyncIterator[Repository]:
    """An empty one."""
    if request.param == "memory":
        yield Database().repository()
        return
    async with on_mongodb(request.getfixturevalue("mongodb")) as opened:
        yield opened
