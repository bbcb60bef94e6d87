"""What MongoDB reads for a command, told by its profiler: what is asked for and not what lies beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bson
import pytest

from services.common.clock import SystemClock
from services.storage.limits import Limits
from services.storage.messages.acts import ReactionsNow
from services.storage.messages.jobs import OwnChange
from services.storage.owners.peers import NoPeers
from services.storage.repository.contract import Repository
from services.storage.repository.mongo.connection import MongoConnection, connected
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from services.storage.repository.mongo.schema import LOG
from services.storage.repository.records import (
    CHANGE,
    ClientKey,
    Erasure,
    Fold,
    InboxEntry,
    Span,
    StoredMessage,
    UnreadSpan,
)
from services.storage.wiring import open_storage
from tests.support.cluster.mongod import Mongod
from tests.unit.storage.changing import act, edit_of, pin, recall, special
from tests.unit.storage.nodes import send, stored
from tidings_protocol import client_pb2
from tidings_protocol.client_pb2 import Change, Content

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


async def fill(repository: Repository) -> None:
    messages = [StoredMessage(CHAT, seq, "ann", str(seq), 1, b"x") for seq in range(1, MANY + 1)]
    entries = [InboxEntry("ann", number, CHAT, number, 1) for number in range(1, MANY + 1)]
    await repository.log.insert(messages, entries)


async def examined(connection: MongoConnection, operation: str) -> list[dict[str, Any]]:
    """The commands of this kind on the log since the profiler was turned on."""
    await connection.database.command("profile", 0)
    query = {"ns": {"$in": ["examined.log", "examined.$cmd.aggregate"]}, "op": operation}
    return await connection.database["system.profile"].find(query).to_list(None)


async def test_retention_reads_what_it_removes(tmp_path: Path) -> None:
    async with profiled(tmp_path) as (repository, connection):
        await fill(repository)
        await connection.database.command("profile", 2)
        assert await repository.messages.remove(CHAT, 11) == 10
        assert await repository.inboxes.remove("ann", 11) == 10
        removals = await examined(connection, "remove")
        assert len(removals) == 2
        assert all(removal["docsExamined"] <= 20 for removal in removals)


async def test_what_is_read_by_its_place_is_read_by_the_cluster_key(tmp_path: Path) -> None:
    async with profiled(tmp_path) as (repository, connection):
        await fill(repository)
        await connection.database.command("profile", 2)
        await repository.messages.pages([Span(CHAT, after=10, limit=5), Span("d:no|one")])
        await repository.messages.get([(CHAT, 7), (CHAT, MANY)])
        await repository.inboxes.pages([Span("ann", before=MANY, limit=5, descending=True)])
        await repository.inboxes.search([(Span("ann", 5, 20), [(CHAT, 7)])])
        await repository.messages.remove(CHAT, 11)
        await repository.inboxes.remove("ann", 11)
        commands = await examined(connection, "command") + await examined(connection, "remove")
        assert len(commands) == 6
        for command in commands:
            assert "IXSCAN {" not in command.get("planSummary", ""), command
            assert command["docsExamined"] <= 30, command


async def test_what_is_unread_is_counted_by_one_scan_of_what_is_looked_at(tmp_path: Path) -> None:
    async with profiled(tmp_path) as (repository, connection):
        await fill(repository)
        await connection.database.command("profile", 2)
        spans = [
            UnreadSpan(CHAT, 10, MANY - 100, 40),
            UnreadSpan(CHAT, MANY - 20, MANY + 1, 100, frozenset(range(MANY - 9, MANY))),
            UnreadSpan("d:no|one", 0, 9, 9),
        ]
        counts = await repository.messages.unread("bob", spans, 1)
        assert [count.unread for count in counts] == [40, 11, 0]
        (command,) = await examined(connection, "command")
        assert "IXSCAN {" not in command.get("planSummary", ""), command
        assert command["docsExamined"] <= 150, command
        assert command["responseLength"] < 1000


async def test_a_message_is_found_by_its_client_id_alone(tmp_path: Path) -> None:
    async with profiled(tmp_path) as (repository, connection):
        await fill(repository)
        await connection.database.command("profile", 2)
        keys = [ClientKey(CHAT, "ann", str(seq)) for seq in (3, MANY, MANY + 1)]
        assert len(await repository.messages.find(keys)) == 2
        (command,) = await examined(connection, "query")
        assert command["planSummary"].count("IXSCAN { p: 1, s: 1, k: 1 }") == 3, command["planSummary"]
        assert command["docsExamined"] == 2


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
        reads = await examined(connection, "command")
        assert sum(read["responseLength"] for read in reads) < 200 * 1024


async def test_what_a_change_writes_is_found_by_place_and_by_target(tmp_path: Path) -> None:
    async with profiled(tmp_path) as (repository, connection):
        await fill(repository)
        for number, target in enumerate((1, 1, 2, MANY), start=MANY + 1):
            act = Change(seq=target, edit=Content()).SerializeToString()
            await repository.messages.insert(
                [StoredMessage(CHAT, number, "ann", str(number), 1, b"x", CHANGE, act=act, mentions=("bob",))]
            )
        await connection.database.command("profile", 2)
        await repository.messages.fold([Fold(CHAT, 1, MANY + 2, b"s", b"y"), Fold(CHAT, 2, MANY + 3, b"s", b"y")])
        await repository.messages.erase(
            [
                Erasure(CHAT, 1, MANY + 2, contents=True, since=MANY + 1),
                Erasure(CHAT, 2, MANY + 9, contents=True, everything=True),
            ]
        )
        updates = await examined(connection, "update")
        assert [update["docsExamined"] for update in updates] == [1, 1, 1, 1], updates
        assert all(update["nModified"] == 1 for update in updates)


async def test_after_a_recall_no_document_of_the_log_has_anything_of_what_was_said(tmp_path: Path) -> None:
    """Whoever edited, mentioned and reacted; and whoever had the history of edits kept."""
    async with profiled(tmp_path) as (repository, connection):
        limits = Limits(flush_interval_s=1e6, keeps_edit_history=True)
        async with open_storage(repository, NoPeers(), SystemClock(), limits) as node:
            said = client_pb2.Content(text="SECRET one", mentions=["bob"])
            sent = special(send("ann", "bob", "a"), mentions=["bob"], expire_after_s=600)
            sent.content = said.SerializeToString()
            await stored(node, sent, send("ann", "bob", "b", "SECRET no more"))
            for key in ("e", "f"):
                given = client_pb2.Content(text=f"SECRET {key}", mentions=["ann", "bob"]).SerializeToString()
                await stored(node, act("ann", "bob", key, edit_of(1), content=given, mentions=["ann", "bob"]))
            reacted = Change.Reacted(added=[Change.Reacted.One(user="bob", reaction="SECRET+1")])
            tally = [client_pb2.Reaction(reaction="SECRET+1", count=1, users=["bob"])]
            await node.conversations.make(
                [OwnChange(CHAT, "bob", "~r", Change(seq=1, reacted=reacted), lambda: ReactionsNow(reacted, tally))]
            )
            await stored(node, pin("bob", "ann", "p", 1), recall("ann", "bob", "r", 1))
            documents = [bson.encode(each) async for each in connection.collection(LOG).find({"k": {"$exists": True}})]
            assert len(documents) == 7
            assert [b"SECRET" in each for each in documents] == [False, True, False, False, False, False, False]
            mentions = [each.mentions for each in (await repository.messages.pages([Span(CHAT)]))[0]]
            assert not any(mentions)
