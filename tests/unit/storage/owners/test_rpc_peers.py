"""The other storage nodes over the wire: one that does not answer is left alone, but told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from google.protobuf.message import Message

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import ManualClock
from services.common.cluster import Cluster
from services.common.registry.contract import NodeRecord
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.rpc import Dropped, TimedOut
from services.common.rpc.contract import Reply
from services.storage.owners.peers import NotAttempted
from services.storage.owners.rpc_peers import RpcStoragePeers
from tidings_protocol.errors import TidingsError, Unavailable


@dataclass
class Peers:
    calls: list[str] = field(default_factory=list)
    error: TidingsError | None = None
    times_s: list[float] = field(default_factory=list)

    async def call(
        self, method: str, request: Message, reply_type: type[Reply], *, node: NodeRecord, timeout_s: float
    ) -> Reply:
        self.calls.append(method.rpartition("/")[2])
        if self.error is not None:
            raise self.error
        answer = reply_type()
        self.times_s.append(timeout_s)
        return answer


@dataclass
class World:
    peers: Peers
    clock: ManualClock
    storage_peers: RpcStoragePeers
    store: MemoryStore

    async def append(self) -> bool:
        """Whether it was done. What was not even asked for is known not to be."""
        self.peers.calls.clear()
        try:
            await self.storage_peers.append("two", pb.AppendBatch())
        except Unavailable as error:
            asked = not isinstance(error, NotAttempted)
        else:
            return True
        assert asked == bool(self.peers.calls)
        return False

    async def calls_after(self, wait_s: float) -> list[str]:
        self.clock.advance(wait_s)
        await self.append()
        return list(self.peers.calls)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        store = MemoryStore()
        registry = await stack.enter_async_context(MemoryRegistry(store))
        cluster = await stack.enter_async_context(Cluster(registry))
        await registry.register(NodeRecord("two", "storage", "boot", "two:1", state="ready"))
        await cluster.wait_for("storage", 1)
        peers, clock = Peers(), ManualClock()
        storage_peers = RpcStoragePeers(
            peers, cluster, clock, name="one", timeout_s=0.5, connected=lambda: registry.connected
        )
        yield World(peers, clock, storage_peers, store)


@pytest.mark.parametrize("error", [TimedOut("late"), Unavailable("its database is away")])
async def test_one_that_does_not_answer_is_left_alone_for_a_while_that_doubles(
    world: World, error: TidingsError
) -> None:
    world.peers.error = error
    assert not await world.append()
    for pause_s in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert await world.calls_after(pause_s - 0.1) == []
        assert await world.calls_after(0.1) == ["Append"]


async def test_one_that_takes_no_more_calls_for_a_moment_is_not_left_alone(world: World) -> None:
    world.peers.error = Dropped("no more calls")
    assert not await world.append()
    assert await world.calls_after(0.1) == ["Append"]


async def test_it_is_told_all_the_same_and_that_it_heard_ends_the_wait(world: World) -> None:
    world.peers.error = TimedOut("late")
    assert not await world.append()
    with pytest.raises(Unavailable):
        await world.storage_peers.forget("two", pb.ForgetBatch(users=["ann"]))
    world.peers.error = None
    assert await world.calls_after(0.1) == []
    await world.storage_peers.forget("two", pb.ForgetBatch(users=["ann"]))
    assert await world.calls_after(0.1) == ["Append"]


async def test_calls_that_fail_together_count_once(world: World) -> None:
    world.peers.error = TimedOut("late")
    assert not await world.append()
    for _ in range(5):
        with pytest.raises(Unavailable):
            await world.storage_peers.forget("two", pb.ForgetBatch(users=["ann"]))
    assert await world.calls_after(1.0) == ["Append"]


async def test_a_call_has_the_short_deadline_that_the_node_was_given(world: World) -> None:
    assert await world.append()
    await world.storage_peers.forget("two", pb.ForgetBatch(users=["ann"]))
    assert world.peers.times_s == [0.5, 0.5]


async def test_who_is_alive_is_not_known_while_the_registry_is_away(world: World) -> None:
    assert world.storage_peers.live_boots() == frozenset({"boot"})
    world.store.away()
    assert world.storage_peers.live_boots() is None
    world.store.back()
    assert world.storage_peers.live_boots() == frozenset({"boot"})
