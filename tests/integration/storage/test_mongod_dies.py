"""A storage node on a real MongoDB that is killed, stopped for a while and started again while messages are stored."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import SystemClock
from services.storage.limits import Limits
from services.storage.loading import membership
from services.storage.node import Storage
from services.storage.owners.peers import NoPeers
from services.storage.repository.contract import Repository
from services.storage.repository.mongo.connection import connected
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from services.storage.repository.records import SYSTEM, Span, StoredMessage
from services.storage.wiring import open_storage
from tests.support.cluster.mongod import Mongod
from tests.unit.storage.nodes import change, changed, create, inbox_of, members_of, send, stored
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import peers

pytestmark = pytest.mark.integration

USERS = [f"user{index}" for index in range(12)]
LIMITS = Limits(flush_interval_s=0.5)


@pytest.fixture
async def mongod(tmp_path: Path) -> AsyncIterator[Mongod]:
    mongod = Mongod(tmp_path)
    await mongod.start()
    yield mongod
    await mongod.stop()
    with warnings.catch_warnings():
        # The driver forgets a socket whose connecting was broken off by the death of the other side.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@asynccontextmanager
async def node_on(mongod: Mongod, timeout_s: float = 1.5) -> AsyncIterator[tuple[Storage, Repository]]:
    clock = SystemClock()
    async with connected(
        mongod.uri, "tidings", clock, timeout_s=timeout_s, connections_max=16, name="test"
    ) as connection:
        await ensure_schema(connection)
        ports = mongo_repository(connection)
        async with open_storage(ports, NoPeers(), clock, LIMITS) as node:
            yield node, ports


@dataclass
class Load:
    """Clients that send, and send again with the same client id until it is acknowledged."""

    node: Storage
    seed: int
    acknowledged: dict[tuple[str, str, str], int] = field(default_factory=dict)
    refused_s: list[float] = field(default_factory=list)

    async def client(self, name: int, until: asyncio.Event) -> None:
        rng = random.Random(self.seed + name)
        number = 0
        while not until.is_set():
            number += 1
            items = []
            for index in range(rng.randrange(1, 30)):
                sender, peer = rng.sample(USERS, 2)
                items.append(send(sender, peer, f"{name}-{number}-{index}"))
            while items:
                items = await self._try(items)

    async def _try(self, items: Sequence[pb.StoreItem]) -> list[pb.StoreItem]:
        began = time.monotonic()
        left: list[pb.StoreItem] = []
        for item, outcome in zip(items, await self.node.conversations.store(items), strict=True):
            if isinstance(outcome, TidingsError) or outcome.status == pb.StoreOutcome.FAILED:
                assert not isinstance(outcome, TidingsError) or isinstance(outcome, Unavailable)
                left.append(item)
            else:
                key = (item.conversation, item.sender, item.client_id)
                assert self.acknowledged.setdefault(key, outcome.seq) == outcome.seq
        if left:
            self.refused_s.append(time.monotonic() - began)
            await asyncio.sleep(0.1)
        return left


async def check(load: Load, repository: Repository) -> None:
    """Nothing acknowledged is lost, no number is missing or doubled, every member has every message once."""
    conversations = {conversation for conversation, _, _ in load.acknowledged}
    seqs: dict[str, list[int]] = {}
    for conversation in conversations:
        (page,) = await repository.messages.pages([Span(conversation, limit=100_000)], content=False)
        seqs[conversation] = [message.seq for message in page]
        assert seqs[conversation] == list(range(1, len(page) + 1))
        there = {(message.sender, message.client_id): message.seq for message in page}
        assert len(there) == len(page)
        for (other, sender, client_id), seq in load.acknowledged.items():
            if other == conversation:
                assert there[sender, client_id] == seq
    for user in USERS:
        (entries,) = await repository.inboxes.pages([Span(user, limit=100_000)])
        assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
        for conversation in conversations:
            if user in peers(conversation):
                assert [e.seq for e in entries if e.conversation == conversation] == seqs[conversation]


async def test_kill_9_of_mongod_in_the_middle_of_batches_loses_and_doubles_nothing(mongod: Mongod) -> None:
    async with node_on(mongod) as (node, repository):
        load, stop = Load(node, 1), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for name in range(6):
                group.create_task(load.client(name, stop))
            for away_s in (0.0, 0.5, 3.0):
                await asyncio.sleep(1.0)
                await mongod.kill()
                await asyncio.sleep(away_s)
                await mongod.start()
            await asyncio.sleep(1.0)
            stop.set()
        assert load.refused_s, "somebody was refused: mongod was away"
        assert max(load.refused_s) < 4.0
        await node.behind.flush()
        await check(load, repository)


async def test_a_mongod_that_hangs_is_answered_for_in_time_and_its_late_writes_do_no_harm(mongod: Mongod) -> None:
    async with node_on(mongod, timeout_s=0.5) as (node, repository):
        load, stop = Load(node, 2), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for name in range(6):
                group.create_task(load.client(name, stop))
            for _ in range(3):
                await asyncio.sleep(0.7)
                mongod.pause()
                await asyncio.sleep(2.0)
                mongod.resume()
            await asyncio.sleep(1.5)
            stop.set()
        assert load.refused_s
        assert sorted(load.refused_s)[len(load.refused_s) // 2] < 2.0
        await node.behind.flush()
        await check(load, repository)


async def test_a_node_that_was_cut_down_is_settled_by_the_next_one(mongod: Mongod) -> None:
    async with node_on(mongod) as (node, _):
        await changed(node, create("g:1", "ann", "bob"))
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(50)))
        # What another node would have done before it died: a notice without its change, a message without entries.
        orphan = change("g:1", "ann", "add", 1, joins=["cid"], notices=[["ann", "bob", "cid"]])
        messages = node.conversations._repository.messages
        await messages.insert(
            [
                StoredMessage("g:1", 2, "ann", "add", 1, b"", SYSTEM, membership.carried(orphan, 0)),
                StoredMessage("d:ann|bob", 51, "bob", "late", 1, b""),
            ]
        )
    async with node_on(mongod) as (node, _):
        assert sorted(await members_of(node, "g:1")) == ["ann", "bob", "cid"]
        await stored(node, send("ann", "bob", "next"))
        chat = [seq for _, conversation, seq in await inbox_of(node, "ann") if conversation == "d:ann|bob"]
        assert chat == list(range(1, 53))
        assert ("g:1", 2) in [entry[1:] for entry in await inbox_of(node, "cid")]


async def test_a_schema_that_is_not_ours_stops_the_start_with_what_to_do(mongod: Mongod) -> None:
    clock = SystemClock()
    async with connected(mongod.uri, "other", clock, timeout_s=5, connections_max=4, name="test") as connection:
        await connection.database.create_collection("log")
        with pytest.raises(TidingsError, match="give TIDINGS_MONGODB_DATABASE another name"):
            await ensure_schema(connection)


async def test_the_schema_is_prepared_by_several_nodes_at_once(mongod: Mongod) -> None:
    clock = SystemClock()
    async with connected(mongod.uri, "together", clock, timeout_s=10, connections_max=8, name="test") as connection:
        await asyncio.gather(*(ensure_schema(connection) for _ in range(4)))
        names = set(await connection.database.list_collection_names())
        assert {"log", "conversations", "members", "sessions", "users", "devices"} <= names
        indexes = await connection.database["log"].index_information()
        assert indexes["client"]["unique"]
