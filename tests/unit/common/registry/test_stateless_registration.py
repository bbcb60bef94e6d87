"""A node in the registry: ready while it is entered, back as a new boot when it was thought dead."""

from __future__ import annotations

import pytest

from services.common.cluster import Cluster
from services.common.registry.contract import Membership, NodeRecord
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.registry.stateless_registration import StatelessRegistration
from tidings_protocol.errors import Unavailable

RECORD = NodeRecord("logic-0", "logic", "boot", "host:1")


async def test_a_node_is_ready_while_it_is_entered_and_draining_when_it_leaves() -> None:
    store = MemoryStore()
    states: list[list[str]] = []

    def note(_: Membership, new: Membership) -> None:
        states.append([node.state for node in new.nodes])

    async with MemoryRegistry(store) as seen_by, Cluster(seen_by) as cluster:
        cluster.subscribe(note)
        async with MemoryRegistry(store) as registry:
            async with StatelessRegistration(registry, RECORD) as registration:
                assert registration.record.state == "ready"
                await cluster.wait_for("logic", 5)
            assert not cluster.ring("logic").members
        await cluster.changed()
    assert states == [["ready"], ["draining"], []]


async def test_a_node_whose_lease_ran_out_comes_back_as_a_new_boot() -> None:
    store = MemoryStore()
    async with (
        MemoryRegistry(store) as seen_by,
        Cluster(seen_by) as cluster,
        MemoryRegistry(store) as registry,
        StatelessRegistration(registry, RECORD) as registration,
    ):
        await cluster.wait_for("logic", 5)
        store.expire("logic-0")
        while cluster.alive("boot") or not cluster.ring("logic").members:
            await cluster.changed()
        node = cluster.node("logic-0")
        assert node == registration.record
        assert node is not None
        assert node.boot_id != "boot"


async def test_a_registry_that_does_not_answer_stops_the_start_with_a_sentence() -> None:
    store = MemoryStore()
    store.away()
    async with MemoryRegistry(store) as registry:
        with pytest.raises(Unavailable, match="etcd"):
            async with StatelessRegistration(registry, RECORD, timeout_s=0.01):
                pass


async def test_a_node_leaves_although_the_registry_is_away() -> None:
    store = MemoryStore()
    async with MemoryRegistry(store) as registry:
        async with StatelessRegistration(registry, RECORD) as registration:
            store.away()
        assert registration.record.state == "draining"
