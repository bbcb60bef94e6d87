"""The cluster as one node sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from services.common.cluster import Cluster
from services.common.registry.contract import Membership, NodeKind, NodeRecord
from services.common.registry.memory import MemoryRegistry, MemoryStore
from tidings_protocol.errors import Unavailable


def record(name: str, kind: NodeKind = "logic", weight: float = 1.0) -> NodeRecord:
    return NodeRecord(name, kind, f"boot-{name}", f"{name}:1", weight=weight, state="ready")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def watched(store: MemoryStore) -> AsyncIterator[tuple[Cluster, asyncio.Queue[tuple[Membership, Membership]]]]:
    """A cluster, and its changes as they come."""
    changes: asyncio.Queue[tuple[Membership, Membership]] = asyncio.Queue()
    async with MemoryRegistry(store) as registry, Cluster(registry) as cluster:
        cluster.subscribe(lambda old, new: changes.put_nowait((old, new)))
        yield cluster, changes


Watched = tuple[Cluster, asyncio.Queue[tuple[Membership, Membership]]]


async def test_a_ring_has_only_the_nodes_of_its_kind_that_are_ready(store: MemoryStore, watched: Watched) -> None:
    cluster, changes = watched
    async with MemoryRegistry(store) as one, MemoryRegistry(store) as two, MemoryRegistry(store) as three:
        for registry, node in (
            (one, record("logic-0")),
            (two, record("logic-1")),
            (three, record("storage-0", "storage")),
        ):
            await registry.register(node)
            await changes.get()
        assert set(cluster.ring("logic").members) == {"logic-0", "logic-1"}
        assert set(cluster.ring("storage").members) == {"storage-0"}
        await two.update(replace(record("logic-1"), state="draining"))
        await changes.get()
        assert set(cluster.ring("logic").members) == {"logic-0"}
        assert cluster.alive("boot-logic-1"), "it drains, but lives"
        assert cluster.node("logic-1") == replace(record("logic-1"), state="draining")


async def test_a_node_that_left_is_gone_with_its_boot_id(store: MemoryStore, watched: Watched) -> None:
    cluster, changes = watched
    async with MemoryRegistry(store) as one:
        await one.register(record("logic-0"))
        await changes.get()
        assert cluster.boots == {"boot-logic-0"}
    old, new = await changes.get()
    assert [node.name for node in old.nodes] == ["logic-0"]
    assert new.nodes == ()
    assert cluster.node("logic-0") is None
    assert not cluster.alive("boot-logic-0")
    assert cluster.ring("logic").owner(0) is None


async def test_the_rings_are_new_when_subscribers_are_told(store: MemoryStore) -> None:
    seen: asyncio.Queue[str | None] = asyncio.Queue()
    async with MemoryRegistry(store) as registry, Cluster(registry) as cluster:
        cluster.subscribe(lambda old, new: seen.put_nowait(cluster.ring("logic").owner(0)))
        async with MemoryRegistry(store) as one:
            await one.register(record("logic-0"))
            assert await seen.get() == "logic-0"


async def test_who_unsubscribed_is_not_told(store: MemoryStore, watched: Watched) -> None:
    cluster, changes = watched
    told: list[Membership] = []
    unsubscribe = cluster.subscribe(lambda old, new: told.append(new))
    unsubscribe()
    unsubscribe()
    async with MemoryRegistry(store) as one:
        await one.register(record("logic-0"))
        await changes.get()
    assert told == []


async def test_wait_for_returns_when_a_node_of_the_kind_is_ready(store: MemoryStore, watched: Watched) -> None:
    cluster, _ = watched
    async with asyncio.TaskGroup() as group, MemoryRegistry(store) as one:
        waiting = group.create_task(cluster.wait_for("logic", 5))
        await one.register(replace(record("logic-0"), state="starting"))
        await one.update(record("logic-0"))
        await waiting


async def test_wait_for_gives_up_with_advice(watched: Watched) -> None:
    with pytest.raises(Unavailable, match="no logic node is ready"):
        await watched[0].wait_for("logic", 0)


async def test_entering_waits_for_the_first_membership_and_can_be_given_up(store: MemoryStore) -> None:
    store.away()
    async with MemoryRegistry(store) as registry:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), Cluster(registry):
                pytest.fail("there is no membership yet")


async def test_an_odd_weight_of_one_node_does_not_hurt_the_others(store: MemoryStore, watched: Watched) -> None:
    cluster, changes = watched
    async with MemoryRegistry(store) as one, MemoryRegistry(store) as two:
        await one.register(record("logic-0", weight=1e-9))
        await changes.get()
        await two.register(record("logic-1"))
        await changes.get()
        assert cluster.ring("logic").owner(0) is not None


async def test_a_change_that_leaves_the_ring_alone_keeps_the_very_ring(store: MemoryStore, watched: Watched) -> None:
    cluster, changes = watched
    async with MemoryRegistry(store) as one:
        await one.register(record("logic-0"))
        await changes.get()
        ring = cluster.ring("logic")
        await one.update(replace(record("logic-0"), mailbox=3))
        await changes.get()
        assert cluster.ring("logic") is ring


async def test_a_subscriber_that_crashes_ends_the_cluster_with_its_error(store: MemoryStore) -> None:
    def crash(old: Membership, new: Membership) -> None:
        raise ZeroDivisionError

    async def serve() -> None:
        async with MemoryRegistry(store) as registry, Cluster(registry) as cluster:
            cluster.subscribe(crash)
            await registry.register(record("logic-0"))
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await serve()
    assert raised.group_contains(ZeroDivisionError)
