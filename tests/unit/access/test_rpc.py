"""What other nodes ask of this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protos.tidings.internal.v1 import access_pb2, node_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.rpc import AccessServicer
from services.common.node import NodeServicer
from services.common.registry.contract import NodeIncarnation
from tests.unit.access.fakes import open_client

CONTEXT: Any = None


class World:
    def __init__(self) -> None:
        self.hub: Hub[Connection] = Hub()
        self.forwarding, self.delivered = ForwardingTable(), list[bytes]()
        self.servicer = AccessServicer(self.hub, self.forwarding, self.deliver)

    async def deliver(self, parcels: Sequence[bytes]) -> None:
        self.delivered += parcels


async def test_from_a_visit_on_a_users_pushes_are_forwarded() -> None:
    world = World()
    host = NodeIncarnation("access-1", "boot")
    await world.servicer.Visit(access_pb2.VisitBatch(node="access-1", boot_id="boot", arrived=["ann", "bob"]), CONTEXT)
    await world.servicer.Visit(access_pb2.VisitBatch(node="access-1", boot_id="boot", left=["bob"]), CONTEXT)
    assert len(world.forwarding) == 1
    assert list(world.forwarding.nodes_of("ann")) == [host]


async def test_an_eviction_ends_that_session_of_that_user_once() -> None:
    world = World()
    one, two = open_client(session="s1"), open_client(session="s2")
    for client in (one, two):
        world.hub.add("ann", client.connection)
    eviction = access_pb2.Eviction(user="ann", session="s1", code=4501, message="a newer one is there")
    batch = access_pb2.EvictBatch(evictions=[eviction, eviction])
    assert (await world.servicer.Evict(batch, CONTEXT)).evicted == 1
    assert one.goodbye is not None
    assert (one.goodbye.code, two.goodbye) == (4501, None)


async def test_what_is_delivered_by_call_is_given_on_as_it_came() -> None:
    world = World()
    await world.servicer.Deliver(access_pb2.DeliverBatch(parcels=[b"a", b"b"]), CONTEXT)
    assert world.delivered == [b"a", b"b"]


async def test_who_is_asked_to_drain_learns_the_pace() -> None:
    asked: list[int] = []
    await NodeServicer(asked.append).Drain(node_pb2.DrainRequest(pace_per_s=7), CONTEXT)
    assert asked == [7]
