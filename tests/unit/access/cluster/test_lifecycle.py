"""A node joins, comes back and leaves: on the registry's twin."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from services.access.cluster import lifecycle as module
from services.access.cluster.head_checks import HeadChecks
from services.access.cluster.lifecycle import LeavingRules, NodeMembership, watch_health
from services.access.cluster.registration import Addresses, Registration
from services.access.session.session import Phase
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.clock import ManualClock
from services.common.cluster import Cluster
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.telemetry import logs, metrics
from services.common.telemetry.health import Health
from tests.unit.access.fakes import Client, open_client


class Mailbox:
    """Notes which one is read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    async def attach(self, partition: int) -> None:
        self.read.append(partition)


class Connections(list[Any]):
    """As much of the set of connections as a membership needs."""

    accepting = False

    def accept(self) -> None:
        self.accepting = True

    def refuse(self) -> None:
        self.accepting = False

    async def wait_empty(self, timeout_s: float) -> bool:
        return not self


class Farewell:
    """Notes whom it is said to, and how."""

    def __init__(self) -> None:
        self.said: list[tuple[list[Any], dict[str, bool]]] = []

    async def say(self, connections: Any, pace_per_s: float, **how: bool) -> None:
        assert pace_per_s > 0
        self.said.append((list(connections), how))


class World:
    def __init__(self, store: MemoryStore, registry: MemoryRegistry) -> None:
        self.store, self.registry = store, registry
        self.registration = Registration(
            registry,
            node="access-0",
            addresses=Addresses("rpc", "ops", "ws", "tcp"),
            weight=1.0,
            partitions=4,
            since_ms=1,
        )
        self.mailbox, self.connections, self.farewell = Mailbox(), Connections(), Farewell()
        self.checks, self.health, self.cleared = HeadChecks(), Health(), 0
        self.membership = NodeMembership(
            registry,
            self.registration,
            cast("Any", self.mailbox),
            cast("Any", self.connections),
            cast("Any", SimpleNamespace(visits=SimpleNamespace(clear=self.clear))),
            cast("Any", self.farewell),
            self.checks,
            self.health,
            ManualClock(),
            LeavingRules(100.0, 8.0),
        )

    def clear(self) -> None:
        self.cleared += 1

    @property
    def state(self) -> str:
        return self.store.nodes["access-0"][0].state

    async def come_in(self) -> None:
        await self.membership.join()
        await self.membership.open_doors()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = MemoryStore()
    async with MemoryRegistry(store) as registry:
        yield World(store, registry)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    out = io.StringIO()
    logs.configure(level="info", form="json", stream=out)
    yield out
    structlog.reset_defaults()


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_node_reads_its_mailbox_before_it_is_ready(world: World) -> None:
    await world.membership.join()
    assert (world.state, world.mailbox.read) == ("starting", [world.registration.mailbox])
    assert not world.connections.accepting
    assert not world.membership.is_staying()
    await world.membership.open_doors()
    assert (world.state, world.connections.accepting) == ("ready", True)
    assert world.membership.is_staying()


async def test_a_registry_that_is_away_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    world.store.away()
    joining = asyncio.create_task(world.membership.join())
    await turns()
    assert not joining.done()
    world.store.back()
    await asyncio.wait_for(joining, 5)
    assert world.state == "starting"


async def test_after_a_lost_lease_it_is_another_boot_and_says_goodbye_to_the_sessions_of_the_one_before(
    world: World,
) -> None:
    await world.come_in()
    before = world.registration.me()
    client = open_client()
    world.connections.append(client.connection)
    keeping = asyncio.create_task(world.membership.keep_joined())
    world.store.expire("access-0")
    await turns()
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
    assert world.registration.me().boot_id != before.boot_id
    assert (world.state, world.cleared) == ("ready", 1)
    assert world.checks.take().everyone
    assert world.farewell.said == [([client.connection], {"staying": True})]


async def test_a_lost_lease_is_counted_and_told_by_the_registry_alone(world: World, lines: io.StringIO) -> None:
    before = metrics.REGISTRY_LEASES_LOST._value.get()
    await world.come_in()
    keeping = asyncio.create_task(world.membership.keep_joined())
    world.store.expire("access-0")
    await turns()
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
    assert metrics.REGISTRY_LEASES_LOST._value.get() == before, "the twin counts nothing"
    assert "coming back as a new boot" in lines.getvalue()
    assert "lease lost" not in lines.getvalue()


async def test_leaving_takes_it_out_of_the_ring_and_says_goodbye(world: World) -> None:
    await world.come_in()
    await world.membership.drain(asked_per_s=0)
    assert (world.state, world.connections.accepting) == ("draining", False)
    assert world.farewell.said == [([], {"at_once": False})]
    assert list(world.health.failed) == ["drain"]
    assert not world.membership.is_staying()
    world.membership.readmit()
    assert not world.connections.accepting, "who leaves takes nobody back"


async def test_a_node_that_nobody_hears_sends_everyone_away_and_takes_new_ones_when_it_is_heard(world: World) -> None:
    await world.come_in()
    client = Client(open_client().connection.node)
    world.connections.append(client.connection)
    await world.membership.evacuate()
    assert not world.connections.accepting
    assert world.farewell.said == [([client.connection], {"at_once": True})]
    assert client.connection.session.phase is Phase.AWAITING_HELLO
    world.membership.readmit()
    assert world.connections.accepting


async def test_what_is_away_shows_in_the_health_and_the_registrys_gauge_is_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_S", 0.0)
    broker = MemoryBroker()
    metrics.REGISTRY_CONNECTED.set(7)
    world.health.started()
    async with MemoryBus(broker) as bus, Cluster(world.registry) as cluster:
        world.store.away()
        broker.away()
        watching = asyncio.create_task(watch_health(world.registry, bus, cluster, world.health))
        await turns()
        watching.cancel()
    assert {"etcd", "logic"} <= set(world.health.degraded)
    assert world.health.ready, "what is degraded is ready"
    assert metrics.REGISTRY_CONNECTED._value.get() == 7
