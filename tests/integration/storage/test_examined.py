"""What MongoDB reads for a command, told by its profiler: what is asked for and not what lies beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.common.clock import SystemClock
from services.storage.repository.contract import Repository
from services.storage.repository.mongo.connection import MongoConnection, connected
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from services.storage.repository.records import InboxEntry, Span, StoredMessage
from tests.integration.storage.mongod import Mongod

pytestmark = pytest.mark.integration

CHAT = "d:ann|bob"
MANY = 5000


@asynccontextmanager
async def profiled(folder: Path) -> AsyncIterator[tuple[Repository, MongoConnection]]:
    mongod = Mongod(folder)
    await mongod.start()
    try:
        async with connected(
            mongod.uri, "examined", SystemClock(), timeout_s=20, connections_max=4, name="test"
        ) as connection:
            await ensure_schema(connection)
            yield mongo_repository(connection), connection
    finally:
        await mongod.stop()


async def examined(connection: MongoConnection, collection: str, operation: str) -> list[dict[str, Any]]:
    """The commands of this kind since the profiler was turned on."""
    await connection.database.command("profile", 0)
    namespace = f"examined.{collection}"
    return await connection.database["system.profile"].find({"ns": namespace, "op": operation}).to_list(None)


async def test_retention_reads_what_it_removes(tmp_path: Path) -> None:
    async with profiled(tmp_path) as (repository, connection):
        messages = [StoredMessage(CHAT, seq, "ann", str(seq), 1, b"x") for seq in range(1, MANY + 1)]
        entries = [InboxEntry("ann", number, CHAT, number, 1) for number in range(1, MANY + 1)]
        await repository.messages.insert(messages)
        await repository.inboxes.insert(entries)
        await connection.database.command("profile", 2)
        assert await repository.messages.remove(CHAT, 11) == 10
        assert await repository.inboxes.remove("ann", 11) == 10
        for collection in ("messages", "inbox"):
            (removal,) = await examined(connection, collection, "remove")
            assert removal["docsExamined"] <= 20, collection


async def test_a_page_of_large_messages_sends_about_what_it_may_hold(tmp_path: Path) -> None:
    async with profiled(tmp_path) as (repository, connection):
        content = b"x" * 32 * 1024
        for start in range(0, 200, 50):
            numbers = range(start + 1, start + 51)
            await repository.messages.insert([StoredMessage(CHAT, seq, "ann", str(seq), 1, content) for seq in numbers])
        await connection.database.command("profile", 2)
        (page,) = await repository.messages.pages([Span(CHAT, limit=201)], content_max=1300)
        found = await repository.messages.get([(CHAT, seq) for seq in range(1, 201)], content_max=1300)
        assert (len(page), len(found)) == (200, 200)
        reads = await examined(connection, "messages", "command")
        assert sum(read["responseLength"] for read in reads) < 200 * 1024
