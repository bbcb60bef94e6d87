"""Storage nodes as they are wired, on the twins of registry, network and database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import common_pb2, node_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import SystemClock
from services.common.cluster import Cluster
from services.common.lifecycle import Lifecycle, live
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.rpc import Router
from services.common.rpc.memory import MemoryNetwork, MemoryPeers
from services.common.telemetry.health import Health
from services.storage.repository.memory import Database
from services.storage.settings import StorageSettings
from services.storage.wiring import StoragePorts, storage_node
from tests.unit.storage.nodes import send
from tidings_protocol.ids import direct, slot_of

M = TypeVar("M", bound=Message)
NAMES = ("storage-0", "storage-1")


@dataclass
class Nodes:
    cluster: Cluster
    router: Router
    peers: MemoryPeers
    database: Database
    lives: dict[str, Lifecycle] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    health: dict[str, Health] = field(default_factory=dict)
    store_of_registry: MemoryStore = field(default_factory=MemoryStore)
    registries: dict[str, MemoryRegistry] = field(default_factory=dict)

    async def members(self, count: int) -> None:
        while len(self.cluster.ring("storage").members) != count:
            await self.cluster.changed()

    async def call(self, key: str, method: str, request: Message, reply: type[M]) -> M:
        return await self.router.call(
            slot_of(key), f"/tidings.internal.v1.Storage/{method}", request, reply, timeout_s=5, budget_s=10
        )

    async def store(self, *items: pb.StoreItem) -> list[pb.StoreOutcome]:
        found: list[pb.StoreOutcome] = []
        for item in items:
            answer = await self.call(item.conversation, "Store", pb.StoreBatch(items=[item]), pb.StoreOutcomes)
            found += answer.outcomes
        return found


@asynccontextmanager
async def nodes() -> AsyncIterator[Nodes]:
    store, network, database = MemoryStore(), MemoryNetwork(), Database()
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(MemoryRegistry(store))
        cluster = await stack.enter_async_context(Cluster(registry))
        peers = MemoryPeers(network, "test")
        there = Nodes(cluster, Router(peers, cluster, "storage"), peers, database, store_of_registry=store)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        for index, name in enumerate(NAMES):
            there.lives[name], there.health[name] = Lifecycle(), Health()
            there.tasks[name] = group.create_task(_run(name, index, there, store, network))
        while len(cluster.ring("storage").members) < len(NAMES):
            await cluster.changed()
        yield there
        for life in there.lives.values():
            life.request_stop()


async def _run(name: str, index: int, there: Nodes, store: MemoryStore, network: MemoryNetwork) -> None:
    @asynccontextmanager
    async def app(settings: StorageSettings, life: Lifecycle) -> AsyncIterator[None]:
        async with MemoryRegistry(store) as registry:
            there.registries[name] = registry
            ports = StoragePorts(
                repository=there.database.repository(),
                registry=registry,
                peers=MemoryPeers(network, name),
                serve=network.serve,
                clock=SystemClock(),
                health=there.health[name],
            )
            async with storage_node(settings, life, ports) as state:
                assert {key: value() for key, value in state.items()}["state"] == "ready"
                yield

    await live(StorageSettings(node=name, rpc_listen=f"127.0.0.1:{8300 + index}"), there.lives[name], app)


async def test_nodes_share_the_work_by_the_ring_and_numbers_agree() -> None:
    async with nodes() as there:
        users = [f"user{index}" for index in range(30)]
        await there.store(*(send("bob", user, "x") for user in users))
        for user in users:  # who holds what was said before moves on by answering
            held = pb.MarkItem(conversation=direct("bob", user), user=user, delivered_seq=1)
            await there.call(held.conversation, "Mark", pb.MarkBatch(items=[held]), pb.MarkOutcomes)
        await there.store(*(send(user, "bob", "y") for user in users))
        owners = {there.cluster.ring("storage").owner_of(user) for user in users}
        assert owners == set(NAMES)
        heads = await there.call("bob", "InboxHeads", pb.KeyBatch(keys=["bob"]), pb.HeadOutcomes)
        assert list(heads.heads) == [60]
        batch = pb.ConversationsBatch(items=[pb.ConversationsItem(user="bob", limit=5)])
        listed = await there.call("bob", "Conversations", batch, pb.ConversationsOutcomes)
        assert [(entry.record.head, entry.peer.read_seq) for entry in listed.outcomes[0].entries] == [(2, 2)] * 5


async def test_a_node_that_drains_leaves_everything_settled_to_the_other() -> None:
    async with nodes() as there:
        await there.store(*(send("bob", f"user{index}", "x") for index in range(20)))
        node = there.cluster.node("storage-0")
        assert node is not None
        await there.peers.call(
            "/tidings.internal.v1.Node/Drain", node_pb2.DrainRequest(), common_pb2.Empty, node=node, timeout_s=5
        )
        await there.tasks["storage-0"]
        assert not there.health["storage-0"].ready
        outcomes = await there.store(*(send("bob", f"user{index}", "y") for index in range(20)))
        assert {outcome.seq for outcome in outcomes} == {2}
        assert sorted(there.database.inboxes["bob"]) == list(range(1, 41))


async def test_a_node_whose_lease_ran_out_trusts_nothing_that_it_remembers_when_it_comes_back() -> None:
    async with nodes() as there:
        ring = there.cluster.ring("storage")
        user = next(user for user in (f"user{index}" for index in range(100)) if ring.owner_of(user) == "storage-1")
        await there.store(send("bob", user, "x"))
        # It sees nothing of what follows: for it the ring stays as it is.
        there.registries["storage-1"].cut()
        there.store_of_registry.expire("storage-1")
        await there.members(1)
        await there.store(send("bob", user, "y"))
        there.registries["storage-1"].heal()
        await there.members(2)
        await asyncio.sleep(0.01)
        heads = await there.call(user, "InboxHeads", pb.KeyBatch(keys=[user]), pb.HeadOutcomes)
        assert list(heads.heads) == [2]
