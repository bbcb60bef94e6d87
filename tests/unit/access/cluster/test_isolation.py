"""A node that nobody hears sends its clients away; one that anybody hears keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.message import Message

from protos.tidings.internal.v1 import access_pb2_grpc, common_pb2, logic_pb2, logic_pb2_grpc
from services.access.cluster.isolation import Isolation
from services.access.connection.hub import Hub
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.rpc import AccessServicer
from services.common.clock import ManualClock
from services.common.registry.contract import Membership, NodeIncarnation, NodeKind, NodeRecord
from services.common.rpc.contract import Reply, Unreachable
from services.common.rpc.memory import MemoryNetwork, MemoryPeers, Passage
from services.common.telemetry.health import Health
from tidings_protocol.errors import Unavailable

PATIENCE_S = 2.5


def record(name: str) -> NodeRecord:
    kind: NodeKind = "access" if name.startswith("access") else "logic"
    return NodeRecord(name, kind, f"boot-{name}", f"{name}:1", state="ready")


class LogicServicer(logic_pb2_grpc.LogicServicer):
    refuses = False

    async def Acknowledge(self, request: logic_pb2.AckBatch, context: Any) -> common_pb2.Empty:  # noqa: N802
        assert not request.items
        if self.refuses:
            raise Unavailable("the database is away")
        return common_pb2.Empty()


@dataclass
class Etcd:
    connected: bool = False


class Peers(MemoryPeers):
    """Notes how long it waits for an answer."""

    def __init__(self, network: MemoryNetwork, source: str) -> None:
        super().__init__(network, source)
        self.waited_s: list[float] = []

    async def call(
        self, method: str, request: Message, reply_type: type[Reply], *, node: NodeRecord, timeout_s: float
    ) -> Reply:
        self.waited_s.append(timeout_s)
        return await super().call(method, request, reply_type, node=node, timeout_s=timeout_s)


@dataclass
class World:
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    clock: ManualClock = field(default_factory=ManualClock)
    etcd: Etcd = field(default_factory=Etcd)
    health: Health = field(default_factory=Health)
    logic: LogicServicer = field(default_factory=LogicServicer)
    members: list[str] = field(default_factory=lambda: ["access-0", "access-1", "logic-0"])
    heard_by: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.health.started()
        self.network.fault = self.carry
        self.peers = Peers(self.network, "access-0")
        self.isolation = Isolation(
            self.etcd,
            self,
            self.peers,
            self.clock,
            self.health,
            me=lambda: NodeIncarnation("access-0", "boot-access-0"),
            patience_s=PATIENCE_S,
            evacuate=self.send_away,
            readmit=lambda: self.said.append("take back"),
        )

    @property
    def membership(self) -> Membership:
        return Membership.of(1, [record(name) for name in self.members])

    async def carry(self, passage: Passage) -> None:
        if passage.address.removesuffix(":1") not in self.heard_by:
            raise Unreachable("cut off")

    async def send_away(self) -> None:
        self.said.append("send away")

    async def look(self, after_s: float = 1.0) -> None:
        self.clock.advance(after_s)
        await self.isolation.probe()


async def _nothing(_: Sequence[bytes]) -> None:
    """Nothing is delivered here."""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    access = AccessServicer(Hub(), ForwardingTable(), _nothing)
    async with AsyncExitStack() as stack:
        for name, service in (
            ("access-1", (access_pb2_grpc.add_AccessServicer_to_server, access)),
            ("logic-0", (logic_pb2_grpc.add_LogicServicer_to_server, world.logic)),
        ):
            await stack.enter_async_context(world.network.serve(f"{name}:1", [service]))
        yield world


async def test_a_node_that_nobody_hears_sends_its_clients_away_once_and_takes_them_back(world: World) -> None:
    await world.look()
    assert world.said == []
    await world.look(PATIENCE_S)
    await world.look()
    assert world.said == ["send away"]
    assert list(world.health.failed) == ["isolation"]
    world.heard_by = {"access-1"}
    await world.look()
    assert world.said == ["send away", "take back"]
    assert world.health.ready


@pytest.mark.parametrize("hears", ["access-1", "logic-0"])
async def test_a_node_that_anyone_hears_keeps_its_clients_while_etcd_is_away(world: World, hears: str) -> None:
    world.heard_by = {hears}
    for _ in range(10):
        await world.look()
    assert world.said == []


async def test_one_that_refuses_has_heard(world: World) -> None:
    world.heard_by, world.logic.refuses = {"logic-0"}, True
    for _ in range(10):
        await world.look()
    assert world.said == []


async def test_while_etcd_answers_nobody_is_asked(world: World) -> None:
    world.etcd.connected = True
    for _ in range(10):
        await world.look()
    assert world.said == []


async def test_a_moment_in_which_it_is_heard_begins_the_wait_anew(world: World) -> None:
    await world.look()
    world.heard_by = {"logic-0"}
    await world.look(PATIENCE_S)
    world.heard_by = set()
    await world.look()
    assert world.said == []
    await world.look(PATIENCE_S)
    assert world.said == ["send away"]


async def test_the_only_access_node_keeps_its_clients(world: World) -> None:
    world.members = ["access-0", "logic-0"]
    for _ in range(10):
        await world.look()
    assert world.said == []


async def test_a_question_waits_for_as_long_as_the_decision_since_who_is_overloaded_answers_late(world: World) -> None:
    await world.look()
    assert set(world.peers.waited_s) == {PATIENCE_S}


async def test_before_its_clients_are_sent_away_everyone_is_asked(world: World) -> None:
    world.members = ["access-0", *(f"access-{n}" for n in range(2, 10)), "access-1", "logic-0", "logic-1", "logic-2"]
    world.heard_by = {"access-1"}
    await world.look()
    for _ in range(20):
        await world.look(PATIENCE_S)
    assert world.said == []
