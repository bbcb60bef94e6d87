"""What follows when the ring changes, or when something may have been lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.access.cluster import rebalance as module
from services.access.cluster.head_checks import HeadChecks
from services.access.cluster.rebalance import Rebalance
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.placement.placement import Placement
from services.common.cluster import Cluster
from services.common.registry.contract import NodeIncarnation, NodeRecord
from services.common.registry.memory import MemoryRegistry, MemoryStore
from tests.unit.access.fakes import Client, open_client
from tidings_protocol.errors import TidingsError, Unavailable


class Noted:
    """The parts that are told: who was registered, compared, asked about."""

    def __init__(self) -> None:
        self.ensured: list[list[str]] = []
        self.forgotten = 0
        self.compared: list[list[str]] = []
        self.died = 0
        self.head = 0
        self.trouble: list[TidingsError] = []
        self.visits = SimpleNamespace(forget=self.forget)

    def forget(self, alive: Any) -> None:
        self.forgotten += 1

    async def ensure(self, users: list[str]) -> None:
        self.ensured.append(users)

    async def read(self, users: Sequence[str]) -> list[int]:
        if self.trouble:
            raise self.trouble.pop()
        return [self.head for _ in users]

    async def compare(self, users: list[str]) -> None:
        self.compared.append(users)

    def node_died(self) -> None:
        self.died += 1


def record(name: str) -> NodeRecord:
    return NodeRecord(name, "access", f"boot-{name}", f"{name}:1", state="ready", ws=f"ws://{name}", tcp=f"{name}:2")


class World:
    def __init__(self, cluster: Cluster, store: MemoryStore, rule: Any) -> None:
        self.store, self.cluster, self.noted = store, cluster, Noted()
        self.hub: Hub[Connection] = Hub()
        self.forwarding, self.checks, self.staying = ForwardingTable(), HeadChecks(), True
        me = NodeIncarnation("access-0", "boot-access-0")
        placement = Placement(rule, me=lambda: me, ring=lambda: cluster.ring("access"), node=cluster.node)
        noted = cast("Any", self.noted)
        self.rebalance = Rebalance(
            cluster,
            self.hub,
            placement,
            noted,
            self.forwarding,
            noted,
            noted,
            noted,
            self.checks,
            moves_per_s=1e6,
            head_check_delay_s=0.0,
            staying=lambda: self.staying,
        )

    def connect(self, user: str) -> Client:
        client = open_client(user)
        self.hub.add(user, client.connection)
        return client


@asynccontextmanager
async def world(rule: str = "ring") -> AsyncIterator[World]:
    store = MemoryStore()
    async with MemoryRegistry(store) as own, Cluster(own) as cluster:
        await own.register(record("access-0"))
        made = World(cluster, store, rule)
        async with made.rebalance:
            yield made


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_S", 0.0)
    monkeypatch.setattr(module, "RETRY_S", 0.0)


async def turns(count: int = 100) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_may_have_missed_something_is_nudged_and_nobody_else() -> None:
    async with world() as place:
        ann, bob = place.connect("ann"), place.connect("bob")
        await turns()
        place.noted.head = 5
        place.checks.check(["ann"])
        await turns()
    assert [frame.lagging.inbox_head for frame in ann.answers] == [5]
    assert bob.answers == []
    assert place.noted.compared[-1] == ["ann"]
    assert sorted(place.noted.ensured[-1]) == ["ann", "bob"], "an owner may have come back as another boot"


async def test_everyone_is_compared_when_nobody_knows_who_missed_it() -> None:
    async with world() as place:
        clients = [place.connect("ann"), place.connect("bob")]
        clients[0].connection.delivery.show(9)
        await turns()
        place.noted.head = 5
        place.checks.check_all()
        await turns()
    assert [len(client.answers) for client in clients] == [0, 1], "who knows more lacks nothing"


async def test_heads_that_cannot_be_read_now_are_read_later() -> None:
    async with world() as place:
        ann = place.connect("ann")
        await turns()
        place.noted.head, place.noted.trouble = 5, [Unavailable("away"), Unavailable("away")]
        place.checks.check(["ann"])
        await turns()
    assert len(ann.answers) == 1


@pytest.mark.parametrize("rule", ["ring", "any"])
async def test_sessions_follow_the_ring_if_the_placement_says_so(rule: str) -> None:
    async with world(rule) as place:
        clients = [place.connect(f"user{number}") for number in range(20)]
        await turns()
        async with MemoryRegistry(place.store) as other:
            await other.register(record("access-1"))
            for _ in range(50):
                await turns()
            moved = [client.goodbye for client in clients if client.goodbye is not None]
    if rule == "any":
        assert moved == []
    else:
        assert 0 < len(moved) < 20
        assert {(goodbye.code, goodbye.address) for goodbye in moved} == {(4001, "access-1:2")}


async def test_a_node_that_leaves_moves_nobody_one_by_one() -> None:
    async with world() as place:
        place.staying = False
        clients = [place.connect(f"user{number}") for number in range(20)]
        async with MemoryRegistry(place.store) as other:
            await other.register(record("access-1"))
            await turns()
            assert [client.goodbye for client in clients] == [None] * 20
            assert place.rebalance.waiting == 0


async def test_what_a_dead_node_left_behind_is_forgotten() -> None:
    async with world() as place:
        async with MemoryRegistry(place.store) as other:
            await other.register(record("access-1"))
            await turns()
            place.forwarding.add(NodeIncarnation("access-1", "boot-access-1"), ["ann"])
        place.store.expire("access-1")
        await turns()
    assert len(place.forwarding) == 0
    assert place.noted.died == 1
    assert place.noted.forgotten == 1
