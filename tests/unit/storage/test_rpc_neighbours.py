"""The other storage nodes over the wire: one that does not answer is left alone, but told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from google.protobuf.message import Message

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import ManualClock
from services.common.cluster import Cluster
from services.common.registry.contract import NodeRecord
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.rpc import TimedOut
from services.common.rpc.contract import MESSAGE_BYTES_MAX, Reply
from services.storage.owners.peers import NotAttempted
from services.storage.owners.rpc_peers import RpcStoragePeers
from tidings_protocol.errors import TidingsError, Unavailable


@dataclass
class Peers:
    calls: list[str] = field(default_factory=list)
    error: TidingsError | None = None
    times_s: list[float] = field(default_factory=list)
    answered: Callable[[pb.AppendOutcomes], object] = lambda _: None

    async def call(
        self, method: str, request: Message, reply_type: type[Reply], *, node: NodeRecord, timeout_s: float
    ) -> Reply:
        self.calls.append(method.rpartition("/")[2])
        assert request.ByteSize() <= MESSAGE_BYTES_MAX
        if self.error is not None:
            raise self.error
        answer = reply_type()
        if isinstance(request, pb.AppendBatch):
            assert isinstance(answer, pb.AppendOutcomes)
            self.times_s.append(timeout_s)
            answer.numbers.extend(item.seq for item in request.items)
            self.answered(answer)
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


async def test_appends_that_are_larger_than_a_call_are_several_within_its_time(world: World) -> None:
    items = [
        pb.AppendItem(user="u" * 64, conversation=f"d:{'a' * 64}|{'u' * 64}", seq=seq, time_ms=2**62, again=True)
        for seq in range(2**40, 2**40 + 120_000)
    ]
    assert pb.AppendBatch(items=items).ByteSize() > MESSAGE_BYTES_MAX
    world.peers.answered = lambda _: world.clock.advance(0.1)
    answer = await world.storage_peers.append("two", pb.AppendBatch(items=items))
    assert list(answer.numbers) == [item.seq for item in items]
    assert [round(each, 3) for each in world.peers.times_s] == [0.5, 0.4, 0.3]
    assert not answer.HasField("fault")


async def test_appends_of_which_a_part_was_done_are_not_said_to_be_not_asked_for(world: World) -> None:
    def lose(_: pb.AppendOutcomes) -> None:
        world.peers.error = NotAttempted("it left meanwhile")

    world.peers.answered = lose
    with pytest.raises(Unavailable) as raised:
        await world.storage_peers.append("two", pb.AppendBatch(items=[pb.AppendItem(seq=1)] * 60_000))
    assert not isinstance(raised.value, NotAttempted)


async def test_who_is_alive_is_not_known_while_the_registry_is_away(world: World) -> None:
    assert world.storage_peers.live_boots() == frozenset({"boot"})
    world.store.away()
    assert world.storage_peers.live_boots() is None
    world.store.back()
    assert world.storage_peers.live_boots() == frozenset({"boot"})
