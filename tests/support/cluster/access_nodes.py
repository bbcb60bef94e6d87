"""A cluster of access nodes in this process, on real sockets of the loopback, with twins of everything behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2_grpc
from services.access.app import access_node
from services.access.settings import AccessSettings
from services.access.wiring import AccessPorts
from services.common.auth.token_source import Authenticator, KeySources
from services.common.auth.tokens import sign
from services.common.bus.contract import Record, Topic
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.clock import SystemClock
from services.common.cluster import Cluster
from services.common.lifecycle import Lifecycle
from services.common.registry.contract import NodeRecord
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.rpc.memory import MemoryNetwork, MemoryPeers
from services.common.telemetry.health import Health
from tests.support.cluster.fake_logic import FakeLogic
from tests.support.cluster.logic_nodes import Twins, nodes
from tests.support.device.pipes import Address, Way
from tests.support.device.wire import Wire, connect
from tests.support.network.ports import free_port

SECRET = b"a secret for tests that is long enough!"
MAILBOXES, BROADCASTS = 8, 4


async def eventually(there: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Returns when it is so; fails if it is not in time."""
    async with asyncio.timeout(timeout_s):
        while not there():  # noqa: ASYNC110 - what is looked at are plain values of the node
            await asyncio.sleep(0.01)


@dataclass
class RunningNode:
    """One access node; `stop` drains it."""

    name: str
    address: Address
    life: Lifecycle
    registry: MemoryRegistry
    debug: Any
    health: Health
    done: asyncio.Task[None]
    settings: AccessSettings

    async def stop(self) -> None:
        self.life.request_stop()
        await asyncio.wait_for(asyncio.shield(self.done), 20)

    def unanswered(self) -> int:
        """Requests of all its clients that are under way."""
        return int(self.state["unanswered"])

    @property
    def state(self) -> dict[str, Any]:
        shown: dict[str, Any] = self.debug()
        return shown


@dataclass
class AccessCluster:
    """Twins of etcd, Kafka, the network and logic; access nodes as they are."""

    folder: Path
    store: MemoryStore
    broker: MemoryBroker
    network: MemoryNetwork
    logic: FakeLogic
    cluster: Cluster
    group: asyncio.TaskGroup
    nodes: dict[str, RunningNode] = field(default_factory=dict)

    def token(self, user: str, ttl_s: float = 3600) -> str:
        return sign(SECRET, user, "local", ttl_s, now=time.time())

    async def start(self, name: str, **settings: Any) -> RunningNode:
        """An access node that is ready."""
        given: dict[str, Any] = {
            "node": name,
            "ws_listen": f"127.0.0.1:{free_port()}",
            "tcp_listen": f"127.0.0.1:{free_port()}",
            "rpc_listen": f"127.0.0.1:{free_port()}",
            "token_secret_file": self.folder / "secret",
            "mailbox_partitions": MAILBOXES,
            "head_check_delay_s": 0.1,
            "drain_deadline_s": 8.0,
            **settings,
        }
        configured = AccessSettings(**given)
        ready: asyncio.Future[RunningNode] = asyncio.get_running_loop().create_future()
        task = self.group.create_task(self._run(configured, ready), name=name)
        node = await ready
        node.done = task
        self.nodes[name] = node
        return node

    async def _run(self, settings: AccessSettings, ready: asyncio.Future[RunningNode]) -> None:
        """A node that does not come up is told to who started it; one that fails later fails the test."""
        try:
            await self._live(settings, ready)
        except BaseExceptionGroup as error:
            if ready.done():
                raise
            ready.set_exception(error.exceptions[0])

    async def _live(self, settings: AccessSettings, ready: asyncio.Future[RunningNode]) -> None:
        life = Lifecycle()
        async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
            life.begin(group)
            clock = SystemClock()
            registry = await stack.enter_async_context(MemoryRegistry(self.store))
            bus = await stack.enter_async_context(MemoryBus(self.broker))
            authenticator = await stack.enter_async_context(
                Authenticator("local", KeySources(secret_file=settings.token_secret_file), clock)
            )
            health = Health()
            ports = AccessPorts(
                registry=registry,
                bus=bus,
                peers=MemoryPeers(self.network, settings.node),
                serve=self.network.serve,
                authenticator=authenticator,
                clock=clock,
                health=health,
            )
            async with access_node(settings, life, ports) as debug:
                address = Address(ws=settings.ws_address, tcp=settings.tcp_address)
                task = asyncio.current_task()
                assert task is not None
                ready.set_result(RunningNode(settings.node, address, life, registry, debug, health, task, settings))
                await life.stopping()
            life.end()

    @asynccontextmanager
    async def session(
        self, user: str, way: Way = "json", *, node: str = "access-0", device: str = "phone", **hello: Any
    ) -> AsyncIterator[Wire]:
        """A client with a session on this node."""
        async with connect(self.nodes[node].address, way) as wire:
            await wire.hello(self.token(user), device, **hello)
            yield wire

    async def publish_to(self, mailbox: int | None, parcel: delivery_pb2.Parcel) -> None:
        """A record in this mailbox."""
        bus = MemoryBus(self.broker)
        await bus.publish([Record("tidings.deliver", parcel.SerializeToString(), partition=mailbox)])

    def owned_by(self, node: str, prefix: str = "user") -> str:
        """A user whose slot this node owns."""
        ring = self.cluster.ring("access")
        return next(f"{prefix}{n}" for n in range(10_000) if ring.owner_of(f"{prefix}{n}") == node)


@asynccontextmanager
async def access_cluster(folder: Path) -> AsyncIterator[AccessCluster]:
    """Without an access node yet, on a logic node that does what the test says."""
    async with AsyncExitStack() as stack:
        twins, cluster, logic = await _behind(stack, folder)
        network, registry = twins.network, await stack.enter_async_context(MemoryRegistry(twins.store))
        await stack.enter_async_context(network.serve("logic-0", [(logic_pb2_grpc.add_LogicServicer_to_server, logic)]))
        await registry.register(
            NodeRecord(name="logic-0", kind="logic", boot_id="logic-0-boot", rpc="logic-0", state="ready")
        )
        yield await stack.enter_async_context(_access_nodes(folder, twins, cluster, logic))


@asynccontextmanager
async def whole_cluster(folder: Path) -> AsyncIterator[AccessCluster]:
    """The same on real logic and storage nodes: nothing but the backends is a twin. Its `logic` is asked by nobody."""
    async with AsyncExitStack() as stack:
        twins, cluster, logic = await _behind(stack, folder)
        behind = nodes(access=0, storages=1, twins=twins, mailboxes=MAILBOXES, broadcasts=BROADCASTS)
        await stack.enter_async_context(behind)
        yield await stack.enter_async_context(_access_nodes(folder, twins, cluster, logic))


async def _behind(stack: AsyncExitStack, folder: Path) -> tuple[Twins, Cluster, FakeLogic]:
    """The twins with what nodes expect to be there."""
    (folder / "secret").write_bytes(SECRET)
    twins = Twins()
    registry = await stack.enter_async_context(MemoryRegistry(twins.store))
    cluster = await stack.enter_async_context(Cluster(registry))
    bus = await stack.enter_async_context(MemoryBus(twins.broker))
    await bus.ensure_topics([Topic("tidings.deliver", MAILBOXES), Topic("tidings.broadcast", BROADCASTS)])
    return twins, cluster, FakeLogic(bus, cluster)


@asynccontextmanager
async def _access_nodes(folder: Path, twins: Twins, cluster: Cluster, logic: FakeLogic) -> AsyncIterator[AccessCluster]:
    async with asyncio.TaskGroup() as group:
        made = AccessCluster(folder, twins.store, twins.broker, twins.network, logic, cluster, group)
        try:
            yield made
        finally:
            for node in made.nodes.values():
                node.life.request_stop(pace_per_s=10_000)
