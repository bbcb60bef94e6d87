"""Calls by slot: the owner first, then who follows, within the budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import pytest
from google.protobuf.message import Message

from protos.tidings.internal.v1 import common_pb2
from services.common.cluster import Cluster
from services.common.registry.contract import NodeRecord
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.rpc import Dropped, Router, TimedOut, Unreachable
from services.common.rpc.contract import Reply
from tidings_protocol.errors import NotFound, Overloaded, TidingsError, Unavailable

SLOT = 7
METHOD = "/tidings.internal.v1.Storage/Close"


@dataclass
class Peers:
    """Notes who was called; what happens is said by node name."""

    now_s: float = 0.0
    calls: list[str] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)
    fail: dict[str, TidingsError] = field(default_factory=dict)
    all_called: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(
        self, method: str, request: Message, reply_type: type[Reply], *, node: NodeRecord, timeout_s: float
    ) -> Reply:
        self.calls.append(node.name)
        self.timeouts_s.append(timeout_s)
        if len(self.calls) == 3:
            self.all_called.set()
        error = self.fail.get(node.name)
        if isinstance(error, TimedOut):
            self.now_s += timeout_s
        if error is not None:
            raise error
        return reply_type()


class World:
    """Three storage nodes on the twin of the registry, and a clock that stands still."""

    def __init__(self, store: MemoryStore, cluster: Cluster, stack: AsyncExitStack) -> None:
        self.store, self.cluster, self.stack = store, cluster, stack
        self.peers = Peers()
        self.router = Router(self.peers, cluster, "storage", now=lambda: self.peers.now_s)

    async def add(self, *names: str) -> None:
        for name in names:
            registry = await self.stack.enter_async_context(MemoryRegistry(self.store))
            await registry.register(NodeRecord(name, "storage", f"boot-{name}", f"{name}:1", state="ready"))
            while self.cluster.node(name) is None:
                await self.cluster.changed()

    @property
    def order(self) -> list[str]:
        return list(self.cluster.ring("storage").preference(SLOT))

    async def call(self, budget_s: float = 5.0, timeout_s: float = 1.0) -> None:
        await self.router.call(
            SLOT, METHOD, common_pb2.Empty(), common_pb2.Empty, timeout_s=timeout_s, budget_s=budget_s
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = MemoryStore()
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(MemoryRegistry(store))
        cluster = await stack.enter_async_context(Cluster(registry))
        world = World(store, cluster, stack)
        await world.add("storage-0", "storage-1", "storage-2")
        yield world


async def test_the_owner_of_the_slot_is_called(world: World) -> None:
    await world.call()
    assert world.peers.calls == [world.cluster.ring("storage").owner(SLOT)]
    owner = world.router.owner(SLOT)
    assert owner is not None
    assert owner.name == world.peers.calls[0]


@pytest.mark.parametrize("error", [Unreachable("gone"), TimedOut("late")])
async def test_when_the_owner_does_not_answer_the_next_in_order_is_called(world: World, error: TidingsError) -> None:
    first, second, third = world.order
    world.peers.fail = {first: error}
    await world.call(timeout_s=0.1)
    assert world.peers.calls == [first, second]
    world.peers.fail[second] = error
    world.peers.calls.clear()
    await world.call(timeout_s=0.1)
    assert world.peers.calls == [second, third], "the owner failed just now, so it is tried last"


async def test_a_node_that_failed_is_tried_first_again_after_a_while_that_doubles(world: World) -> None:
    first, second, _ = world.order
    world.peers.fail = {first: Unreachable("gone")}
    await world.call()
    for pause_s in (1.0, 2.0, 4.0, 8.0, 8.0):
        world.peers.calls.clear()
        world.peers.now_s += pause_s - 0.1
        await world.call()
        assert world.peers.calls == [second]
        world.peers.now_s += 0.1
        world.peers.calls.clear()
        await world.call()
        assert world.peers.calls == [first, second]
    world.peers.fail = {}
    world.peers.now_s += 8.0
    world.peers.calls.clear()
    await world.call()
    await world.call()
    assert world.peers.calls == [first, first], "one answer makes it good"


@pytest.mark.parametrize("error", [NotFound("nothing"), Overloaded("full")])
async def test_what_the_service_says_is_the_callers_and_not_asked_of_another(world: World, error: TidingsError) -> None:
    world.peers.fail = dict.fromkeys(world.order, error)
    with pytest.raises(type(error)):
        await world.call()
    assert len(world.peers.calls) == 1


@pytest.mark.parametrize("error", [Unavailable("stopping"), Dropped("no more calls")])
async def test_a_service_that_is_unavailable_has_one_more_asked(world: World, error: TidingsError) -> None:
    first, second, _ = world.order
    world.peers.fail = {first: error}
    await world.call()
    await world.call()
    assert world.peers.calls == [first, second, first, second], "it answers, so it keeps its place"
    world.peers.fail = dict.fromkeys(world.order, Unavailable("the database is away", 700))
    world.peers.calls.clear()
    with pytest.raises(Unavailable, match="the database is away") as raised:
        await world.call()
    assert raised.value.retry_after_ms == 700
    assert world.peers.calls == [first, second]


async def test_the_budget_bounds_all_tries_together(world: World) -> None:
    world.peers.fail = dict.fromkeys(world.order, TimedOut("late"))
    with pytest.raises(Unavailable, match="late"):
        await world.call(budget_s=2.5, timeout_s=1.0)
    assert world.peers.timeouts_s == pytest.approx([1.0, 1.0, 0.5])
    assert world.peers.now_s == pytest.approx(2.5)


async def test_a_call_waits_for_a_node_within_its_budget(world: World) -> None:
    world.peers.fail = dict.fromkeys(world.order, Unreachable("gone"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(world.call())
        await world.peers.all_called.wait()
        # One that owns the slot, so that it is the first to be tried.
        ring = world.cluster.ring("storage")
        names = (f"storage-{n}" for n in range(3, 1000))
        await world.add(next(n for n in names if type(ring).build({**ring.members, n: 1.0}).owner(SLOT) == n))
        await task
    assert world.peers.calls[-1] == world.order[0]


async def test_without_any_node_the_call_is_unavailable_with_advice() -> None:
    async with MemoryRegistry(MemoryStore()) as registry, Cluster(registry) as cluster:
        peers = Peers()
        router = Router(peers, cluster, "logic", now=lambda: peers.now_s)
        with pytest.raises(Unavailable, match="no logic node is ready"):
            await router.call(SLOT, METHOD, common_pb2.Empty(), common_pb2.Empty, timeout_s=1, budget_s=0)
        assert router.owner(SLOT) is None
        assert peers.calls == []


async def test_a_node_that_left_the_ring_is_not_called(world: World) -> None:
    first, second, _ = world.order
    node = world.cluster.node(first)
    assert node is not None
    _, registry = world.store.nodes[first]
    await registry.update(replace(node, state="draining"))
    await world.cluster.changed()
    await world.call()
    assert world.peers.calls == [second]


async def test_failures_of_nodes_that_are_gone_are_forgotten(world: World) -> None:
    first, second, _ = world.order
    world.peers.fail = {first: Unreachable("gone")}
    await world.call()
    world.store.expire(first)
    await world.cluster.changed()
    world.peers.fail = {second: Unreachable("gone")}
    await world.call()
    assert world.router._demotions.boots == {f"boot-{second}"}


async def test_no_further_try_begins_when_whoever_asked_is_gone(world: World) -> None:
    await world.add("storage-0", "storage-1")
    owner = world.order[0]
    world.peers.fail[owner] = TimedOut("no answer")
    with pytest.raises(Unavailable, match="is gone"):
        await world.router.call(
            SLOT,
            METHOD,
            common_pb2.Empty(),
            common_pb2.Empty,
            timeout_s=1.0,
            budget_s=5.0,
            wanted=lambda: not world.peers.calls,
        )
    assert world.peers.calls == [owner]
