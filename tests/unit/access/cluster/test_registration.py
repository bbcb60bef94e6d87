"""A node in the registry, on the registry's twin."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.access.cluster import registration as module
from services.access.cluster.registration import Addresses, CannotStart, Registration
from services.common.registry.memory import MemoryRegistry, MemoryStore


@pytest.fixture
async def registry(store: MemoryStore) -> AsyncIterator[MemoryRegistry]:
    async with MemoryRegistry(store) as entered:
        yield entered


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def made(registry: MemoryRegistry, name: str = "access-0", partitions: int = 4) -> Registration:
    addresses = Addresses("rpc:1", "ops:1", "ws://a", "tcp:1")
    return Registration(registry, node=name, addresses=addresses, weight=2.0, partitions=partitions, since_ms=7)


async def test_a_node_is_there_with_a_mailbox_before_it_is_ready(registry: MemoryRegistry, store: MemoryStore) -> None:
    registration = made(registry)
    await registration.begin()
    record, _ = store.nodes["access-0"]
    assert (record.state, record.rpc, record.ws, record.weight, record.since_ms) == (
        "starting",
        "rpc:1",
        "ws://a",
        2,
        7,
    )
    assert registration.mailbox in range(4)
    assert list(store.claims) == [f"mailboxes/{registration.mailbox}"]
    await registration.set_state("ready")
    assert store.nodes["access-0"][0] == registration.record
    assert registration.record.state == "ready"


async def test_another_number_of_mailboxes_than_the_clusters_is_refused_with_what_to_do(
    registry: MemoryRegistry,
) -> None:
    await made(registry).begin()
    with pytest.raises(CannotStart, match="start the node with 4"):
        await made(registry, partitions=8).begin()


async def test_two_nodes_have_two_mailboxes(registry: MemoryRegistry, store: MemoryStore) -> None:
    one = made(registry, partitions=2)
    await one.begin()
    async with MemoryRegistry(store) as second:
        other = made(second, "access-1", partitions=2)
        await other.begin()
        assert {one.mailbox, other.mailbox} == {0, 1}


async def test_a_free_mailbox_is_waited_for(
    registry: MemoryRegistry, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLAIM_PAUSE_S", 0.0)
    one = made(registry, partitions=1)
    async with MemoryRegistry(store) as second:
        await made(second, "access-1", partitions=1).begin()
    await one.begin()
    assert one.mailbox == 0


async def test_a_new_boot_keeps_its_mailbox_and_is_somebody_else(registry: MemoryRegistry, store: MemoryStore) -> None:
    registration = made(registry)
    await registration.begin()
    await registration.set_state("ready")
    before, mailbox = registration.me(), registration.mailbox
    store.expire("access-0")
    await registration.rejoin(since_ms=9)
    after = registration.me()
    assert (after.node, registration.mailbox, registration.record.state) == (before.node, mailbox, "starting")
    assert after.boot_id != before.boot_id
    assert registration.record.since_ms == 9


async def test_what_the_registry_cannot_be_told_now_it_is_told_later(
    registry: MemoryRegistry, store: MemoryStore
) -> None:
    registration = made(registry)
    await registration.set_deaf(True)
    assert not store.nodes, "who is not registered yet tells nothing"
    await registration.begin()
    store.away()
    await registration.set_state("draining")
    store.back()
    assert store.nodes["access-0"][0].state == "draining"
    assert store.nodes["access-0"][0].deaf
