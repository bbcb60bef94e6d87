"""Logic and storage nodes in one process, whole as they are wired, on the twins of the backends.

Access nodes are records in the registry and mailboxes that nobody empties: what was pushed to them is looked at here.
With `access=0` and the twins of an access cluster (access_nodes.py) they are what stands behind real access nodes.

Does not know: real backends (tests/e2e has them).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import access_pb2, access_pb2_grpc, delivery_pb2, logic_pb2
from protos.tidings.v1 import events_pb2
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.clock import SystemClock
from services.common.cluster import Cluster
from services.common.lifecycle import Lifecycle, live
from services.common.registry.contract import NodeRecord
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.rpc import Router
from services.common.rpc.memory import MemoryNetwork, MemoryPeers
from services.common.scope import TaskScope
from services.common.telemetry.health import Health
from services.logic import node as logic
from services.logic.settings import LogicSettings
from services.logic.wiring import LogicPorts
from services.storage import wiring as storage
from services.storage.repository.memory import Database, Faults
from services.storage.repository.records import SessionDocument
from services.storage.settings import StorageSettings
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import slot_of

M = TypeVar("M", bound=Message)
NEVER_SWEPT_MS = 2**62
ACCESS = 2
PATIENCE_S = 10.0


class AccessServicer(access_pb2_grpc.AccessServicer):
    """An access node that notes what it is told."""

    def __init__(self) -> None:
        self.evicted: list[access_pb2.Eviction] = []

    async def Visit(self, request: access_pb2.VisitBatch, _: Any) -> access_pb2.VisitOutcome:  # noqa: N802
        return access_pb2.VisitOutcome()

    async def Evict(self, request: access_pb2.EvictBatch, _: Any) -> access_pb2.EvictOutcome:  # noqa: N802
        self.evicted += request.evictions
        return access_pb2.EvictOutcome(evicted=len(request.evictions))

    async def Deliver(self, request: access_pb2.DeliverBatch, _: Any) -> access_pb2.DeliverOutcome:  # noqa: N802
        raise Unavailable("what comes through Kafka is looked at here")


@dataclass(frozen=True, slots=True)
class Twins:
    """What outlasts the nodes: their etcd, their Kafka, their network."""

    store: MemoryStore = field(default_factory=MemoryStore)
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    network: MemoryNetwork = field(default_factory=MemoryNetwork)


@dataclass
class Nodes:
    """The cluster as an access node sees it."""

    broker: MemoryBroker
    registry: MemoryStore
    database: Database
    network: MemoryNetwork
    cluster: Cluster
    router: Router
    peers: MemoryPeers
    access: AccessServicer
    faults: dict[str, Faults] = field(default_factory=dict)
    lives: dict[str, tuple[Lifecycle, asyncio.Task[None]]] = field(default_factory=dict)
    _read: dict[tuple[str, int], int] = field(default_factory=dict)

    # ---- calls

    async def call(self, key: str, method: str, request: Message, reply: type[M], *, budget_s: float = 6.0) -> M:
        return await self.router.call(
            slot_of(key),
            f"/tidings.internal.v1.Logic/{method}",
            request,
            reply,
            timeout_s=2.0,
            budget_s=budget_s,
        )

    async def send(
        self, sender: str, conversation: str, *texts: str, client_id: str = ""
    ) -> list[logic_pb2.SendOutcome]:
        items = [
            logic_pb2.SendItem(
                sender=sender,
                session=f"{sender}-session",
                conversation=conversation,
                client_id=f"{sender} {text}",
                content=client_pb2.Content(text=text).SerializeToString(),
            )
            for text in texts
        ]
        outcomes = await self.call(conversation, "Send", logic_pb2.SendBatch(items=items), logic_pb2.SendOutcomes)
        return list(outcomes.outcomes)

    async def ask(self, user: str, *, op: str = "", **body: Any) -> client_pb2.ServerFrame:
        """In a session that is there and that nobody sees: its boot is no node's."""
        session = SessionDocument(user, "the test's", f"{user}-session", since_ms=NEVER_SWEPT_MS)
        self.database.sessions[user][session.device] = session
        frame = client_pb2.ClientFrame(id=1, **body).SerializeToString()
        item = logic_pb2.HandleItem(user=user, session=f"{user}-session", frame=frame, op=op)
        answer = await self.call(user, "Handle", logic_pb2.HandleBatch(items=[item]), logic_pb2.HandleOutcomes)
        return client_pb2.ServerFrame.FromString(answer.outcomes[0].frame)

    async def act(self, user: str, *, op: str = "", **act: Any) -> client_pb2.ServerFrame:
        return await self.ask(user, op=op, group=client_pb2.GroupRequest(**act))

    async def hello(self, user: str, session: str, **fields: Any) -> logic_pb2.OpenOutcome:
        item = logic_pb2.OpenItem(
            user=user,
            session=session,
            **{"device": "phone", "node": "access-0", "boot_id": "boot-access-0"} | fields,
        )
        answer = await self.call(user, "Open", logic_pb2.OpenBatch(items=[item]), logic_pb2.OpenOutcomes)
        return answer.outcomes[0]

    # ---- what was published

    def pushes(self) -> list[delivery_pb2.Push]:
        """What is new for access nodes, mailboxes before broadcasts."""
        return [
            push
            for topic in ("tidings.deliver", "tidings.broadcast")
            for value in self._new(topic)
            for push in delivery_pb2.Parcel.FromString(value).pushes
        ]

    def events(self) -> list[events_pb2.Event]:
        return [events_pb2.Event.FromString(value) for value in self._new("tidings.events")]

    def _new(self, topic: str) -> list[bytes]:
        found: list[bytes] = []
        for number, partition in enumerate(self.broker.topic(topic)):
            seen = self._read.get((topic, number), 0)
            found += [record.value for record in partition.records[seen:]]
            self._read[topic, number] = len(partition.records)
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until it holds; fails after a while."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - what is waited for is looked at from outside
                await asyncio.sleep(0.01)

    async def receipts(self, count: int) -> list[tuple[client_pb2.Receipt, set[str], str]]:
        """So many receipts, as soon as they are there: (receipt, who gets it, which connection does not)."""
        found: dict[bytes, tuple[client_pb2.Receipt, set[str], str]] = {}

        def there() -> bool:
            for push in self.pushes():
                if push.kind == delivery_pb2.Push.RECEIPT:
                    value = client_pb2.Receipt.FromString(push.body)
                    _, users, _ = found.get(push.body, (value, set(), ""))
                    found[push.body] = (value, users | set(push.users), push.except_session)
            return len(found) >= count

        await self.until(there)
        return list(found.values())

    # ---- nodes

    async def stop(self, name: str) -> None:
        """The node drains."""
        life, task = self.lives.pop(name)
        life.request_stop()
        await task


@asynccontextmanager
async def nodes(
    *,
    access: int = ACCESS,
    logics: int = 1,
    storages: int = 2,
    twins: Twins | None = None,
    mailboxes: int = ACCESS,
    broadcasts: int = 1,
    **settings: Any,
) -> AsyncIterator[Nodes]:
    """All of it up. `settings` are those of the logic nodes; `access`: how many access nodes there seem to be."""
    twins = twins or Twins()
    store, broker, network, database = twins.store, twins.broker, twins.network, Database()
    async with AsyncExitStack() as stack:
        scope = await stack.enter_async_context(TaskScope())
        servicer = AccessServicer()
        for number in range(access):
            registry = await stack.enter_async_context(MemoryRegistry(store))
            name = f"access-{number}"
            record = NodeRecord(name, "access", f"boot-{name}", f"{name}:1", state="ready", mailbox=number)
            await stack.enter_async_context(
                network.serve(record.rpc, [(access_pb2_grpc.add_AccessServicer_to_server, servicer)])
            )
            await registry.register(record)
        cluster = await stack.enter_async_context(Cluster(await stack.enter_async_context(MemoryRegistry(store))))
        peers = MemoryPeers(network, "access-0")
        there = Nodes(broker, store, database, network, cluster, Router(peers, cluster, "logic"), peers, servicer)
        shared: dict[str, Any] = {"mailbox_partitions": mailboxes, "broadcast_partitions": broadcasts}
        for number in range(storages):
            name = f"storage-{number}"
            there.faults[name] = Faults()
            chosen = StorageSettings(node=name, rpc_listen=f"127.0.0.1:{9100 + number}", **shared)
            _start(there, scope, name, _storage(chosen, there, name))
        for number in range(logics):
            name = f"logic-{number}"
            mine = LogicSettings(node=name, rpc_listen=f"127.0.0.1:{9200 + number}", **shared | settings)
            _start(there, scope, name, _logic(mine, there, name))
        expected = access + logics + storages
        await there.until(lambda: sum(node.state == "ready" for node in cluster.membership.nodes) == expected)
        yield there
        for name in sorted(there.lives):
            await there.stop(name)


Run = Callable[[Lifecycle], Any]


def _start(there: Nodes, scope: TaskScope, name: str, run: Run) -> None:
    life = Lifecycle()
    there.lives[name] = (life, scope.spawn(run(life), name=name))


def _storage(settings: StorageSettings, there: Nodes, name: str) -> Run:
    @asynccontextmanager
    async def app(settings: StorageSettings, life: Lifecycle) -> AsyncIterator[None]:
        async with MemoryRegistry(there.registry) as registry:
            ports = storage.StoragePorts(
                repository=there.database.repository(there.faults[name]),
                registry=registry,
                peers=MemoryPeers(there.network, name),
                serve=lambda listen, services: there.network.serve(listen, services),  # noqa: PLW0108 - the port's names
                clock=SystemClock(),
                health=Health(),
            )
            async with storage.storage_node(settings, life, ports):
                yield

    return lambda life: live(settings, life, app)


def _logic(settings: LogicSettings, there: Nodes, name: str) -> Run:
    @asynccontextmanager
    async def app(settings: LogicSettings, life: Lifecycle) -> AsyncIterator[None]:
        async with MemoryRegistry(there.registry) as registry, MemoryBus(there.broker) as bus:
            ports = LogicPorts(
                registry=registry,
                bus=bus,
                peers=MemoryPeers(there.network, name),
                serve=there.network.serve,
                clock=SystemClock(),
                health=Health(),
            )
            async with logic.logic_node(settings, life, ports):
                yield

    return lambda life: live(settings, life, app)
