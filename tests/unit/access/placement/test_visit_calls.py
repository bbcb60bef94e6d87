"""The calls that tell owners of their visitors, on the twin of the network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from protos.tidings.internal.v1 import access_pb2, access_pb2_grpc
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.placement.visit_calls import VisitCalls
from services.common.registry.contract import NodeIncarnation, NodeRecord
from services.common.rpc.memory import MemoryNetwork, MemoryPeers
from tidings_protocol.errors import Internal, Overloaded, TidingsError, Unavailable

ME, OWNER = NodeIncarnation("access-0", "boot-0"), NodeIncarnation("access-1", "boot-1")
RECORD = NodeRecord(name="access-1", kind="access", boot_id="boot-1", rpc="access-1:1", state="ready")


class Owner(access_pb2_grpc.AccessServicer):
    """Notes its visitors; `gate` holds calls up, `away` makes them fail."""

    def __init__(self) -> None:
        self.forwarding = ForwardingTable()
        self.calls: list[tuple[list[str], list[str]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.away = False
        self.error: TidingsError = Unavailable("stopping")

    async def Evict(self, request: access_pb2.EvictBatch, context: Any) -> access_pb2.EvictOutcome:  # noqa: N802
        raise AssertionError("nobody is to be evicted here")

    async def Deliver(self, request: access_pb2.DeliverBatch, context: Any) -> access_pb2.DeliverOutcome:  # noqa: N802
        raise AssertionError("nothing is to be delivered here")

    async def Visit(self, request: access_pb2.VisitBatch, context: Any) -> access_pb2.VisitOutcome:  # noqa: N802
        self.calls.append((list(request.arrived), list(request.left)))
        self.asked.set()
        await self.gate.wait()
        if self.away:
            raise self.error
        host = NodeIncarnation(request.node, request.boot_id)
        self.forwarding.add(host, request.arrived)
        self.forwarding.remove(host, request.left)
        return access_pb2.VisitOutcome()


class World:
    def __init__(self, owner: Owner, wanted: dict[str, NodeIncarnation], network: MemoryNetwork) -> None:
        self.owner = owner
        self.wanted = wanted
        self.me = ME
        self.late: list[str] = []
        self.visit_calls = VisitCalls(
            MemoryPeers(network, "access-0"),
            me=lambda: self.me,
            wanted=wanted.get,
            node={"access-1": RECORD}.get,
            capacity=100,
            timeout_s=1,
            on_late=self.late.extend,
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    network, owner, wanted = MemoryNetwork(), Owner(), dict[str, NodeIncarnation]()
    services = [(access_pb2_grpc.add_AccessServicer_to_server, owner)]
    async with network.serve("access-1:1", services):
        world = World(owner, wanted, network)
        async with world.visit_calls:
            yield world


async def test_visitors_of_one_owner_are_told_in_one_call_and_confirmed(world: World) -> None:
    world.wanted.update(dict.fromkeys(["a", "a2"], OWNER))
    assert await world.visit_calls.ensure(["a", "a2", "b"]) == set()
    assert {user for arrived, _ in world.owner.calls for user in arrived} == {"a", "a2"}
    assert world.owner.forwarding.nodes_of("a") == (ME,)
    assert await world.visit_calls.ensure(["a"]) == set()
    assert world.visit_calls.visits.owner_of("a") == OWNER


async def test_who_comes_back_while_the_owner_is_told_that_it_left_is_announced_again(world: World) -> None:
    world.wanted["a"] = OWNER
    await world.visit_calls.ensure(["a"])
    world.owner.gate.clear()
    del world.wanted["a"]
    world.visit_calls.left("a")
    world.owner.asked.clear()
    await world.owner.asked.wait()
    world.wanted["a"] = OWNER
    back = asyncio.ensure_future(world.visit_calls.ensure(["a"]))
    await asyncio.sleep(0)
    world.owner.gate.set()
    assert await back == set()
    assert world.owner.forwarding.nodes_of("a") == (ME,)
    assert world.owner.calls == [(["a"], []), ([], ["a"]), (["a"], [])]


@pytest.mark.parametrize("error", [Unavailable("stopping"), Overloaded("2,000 calls"), Internal("a defect")])
async def test_a_call_that_failed_is_told_and_tried_again_and_its_success_is_late(
    world: World, error: TidingsError
) -> None:
    world.owner.error = error
    late = world.late
    world.wanted["a"] = OWNER
    world.owner.away = True
    assert await world.visit_calls.ensure(["a"]) == {"a"}
    assert world.visit_calls.failed == 1
    assert late == []
    world.owner.away = False
    assert await world.visit_calls.ensure(["a"]) == set()
    assert late == ["a"]
    assert world.visit_calls.failed == 0


async def test_an_owner_of_another_boot_is_not_asked_and_needs_not_be_told(world: World) -> None:
    dead = NodeIncarnation("access-1", "an earlier boot")
    world.wanted["a"] = dead
    assert await world.visit_calls.ensure(["a"]) == {"a"}
    world.visit_calls.visits.confirm(dead, ["a"])
    del world.wanted["a"]
    assert await world.visit_calls.ensure(["a"]) == set()
    assert world.owner.calls == []
    assert world.visit_calls.visits.owner_of("a") is None


@pytest.mark.parametrize("error", [Overloaded("2,000 calls"), Internal("a defect")])
async def test_one_owner_that_fails_does_not_make_the_others_forgotten_nor_a_departure(
    world: World, error: TidingsError
) -> None:
    world.wanted["a"] = OWNER
    await world.visit_calls.ensure(["a"])
    world.owner.error, world.owner.away = error, True
    del world.wanted["a"]
    world.visit_calls.left("a")
    assert await world.visit_calls.ensure(["a"]) == set()
    assert world.visit_calls.failed == 1
    world.owner.away = False
    await world.visit_calls.ensure(["a"])
    assert (world.owner.forwarding.nodes_of("a"), world.visit_calls.failed) == ((), 0)


async def test_what_an_owner_confirmed_to_a_boot_of_before_is_asked_again_in_the_name_of_the_new_one(
    world: World,
) -> None:
    world.wanted["a"] = OWNER
    world.owner.gate.clear()
    settling = asyncio.ensure_future(world.visit_calls.ensure(["a"]))
    await world.owner.asked.wait()
    world.me = NodeIncarnation("access-0", "a new boot")
    world.visit_calls.visits.clear()
    world.owner.gate.set()
    assert await settling == {"a"}
    assert world.visit_calls.visits.owner_of("a") is None
    assert await world.visit_calls.ensure(["a"]) == set()
    assert world.me in world.owner.forwarding.nodes_of("a")
