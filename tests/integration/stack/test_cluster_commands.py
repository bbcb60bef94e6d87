"""The commands that look at a cluster through its etcd and ask its logic nodes, on nodes that this test stands for."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from protos.tidings.internal.v1 import admin_pb2, admin_pb2_grpc, common_pb2, storage_pb2
from services.common.registry.contract import NodeRecord
from services.common.registry.etcd import EtcdRegistry
from services.common.rpc import serve
from tests.support.cluster.backends import RealBackends
from tidings_protocol.client_pb2 import Content
from tidings_protocol.errors import Unauthenticated
from tidings_protocol.ids import SLOTS, new_id, slot_of

pytestmark = pytest.mark.integration

TIDINGS = Path(sys.executable).with_name("tidings")
OPERATOR_TOKEN = "the operator's token"


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass
class FakeCluster(admin_pb2_grpc.AdminServicer):
    """Two access nodes and a logic node in etcd; this object is the logic node's Admin service."""

    etcd: str
    name: str = field(default_factory=lambda: f"tests-{new_id()}")
    asked: list[Any] = field(default_factory=list)
    registries: dict[str, EtcdRegistry] = field(default_factory=dict)

    async def join(self, stack: AsyncExitStack, name: str, kind: Any, rpc: str, **more: Any) -> None:
        registry = await stack.enter_async_context(EtcdRegistry([self.etcd], self.name))
        await registry.register(NodeRecord(name, kind, f"boot of {name}", rpc, state="ready", **more))
        self.registries[name] = registry

    async def tidings(self, *arguments: str, token: str = OPERATOR_TOKEN) -> Said:
        process = await asyncio.create_subprocess_exec(
            TIDINGS,
            *arguments,
            "--etcd",
            self.etcd,
            "--cluster",
            self.name,
            env={"PATH": "/usr/bin:/bin", "TIDINGS_OPERATOR_TOKEN": token},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Said(process.returncode or 0, out.decode(), err.decode())

    def _take(self, request: Any, context: Any) -> None:
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {OPERATOR_TOKEN}":
            raise Unauthenticated("this is not the token of an operator")
        self.asked.append(request)

    async def Sessions(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self._take(request, context)
        record = storage_pb2.SessionRecord(
            device="phone", kind=2, node="access-0", session="s1", since_ms=1_700_000, address="198.51.100.7"
        )
        return admin_pb2.AdminSessions(sessions=[record])

    async def Kick(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._take(request, context)
        return admin_pb2.KickAnswer(kicked=2)

    async def Broadcast(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._take(request, context)
        return admin_pb2.BroadcastAnswer(message_id="m1", seq=7, time_ms=1_700_000)

    async def User(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    async def Group(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    async def Drain(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._take(request, context)
        await self.registries[request.node].deregister()
        return common_pb2.Empty()


@pytest.fixture
async def cluster(real_backends: RealBackends) -> AsyncIterator[FakeCluster]:
    made = FakeCluster(real_backends.etcd)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            serve("127.0.0.1:0", [(admin_pb2_grpc.add_AdminServicer_to_server, made)])
        )
        await made.join(stack, "access-0", "access", "127.0.0.1:1", ws="ws://a0", tcp="a0:1")
        await made.join(stack, "access-1", "access", "127.0.0.1:2", ws="ws://a1", tcp="a1:1")
        await made.join(stack, "logic-0", "logic", server.address)
        yield made


async def test_nodes_tells_who_is_alive(cluster: FakeCluster) -> None:
    nodes = (await cluster.tidings("nodes", "--json")).json["nodes"]
    assert [node["name"] for node in nodes] == ["access-0", "access-1", "logic-0"]
    assert {
        "kind": "access",
        "boot_id": "boot of access-0",
        "address": "127.0.0.1:1",
        "weight": 1.0,
        "state": "ready",
    }.items() <= nodes[0].items()
    assert "access-1" in (await cluster.tidings("nodes")).out


async def test_ring_and_slot_agree_on_who_owns_a_user(cluster: FakeCluster) -> None:
    ring = (await cluster.tidings("ring", "--json")).json
    slot = (await cluster.tidings("slot", "ann", "--json")).json
    assert ring["slots"] == SLOTS == len(ring["owners"])
    assert sum(node["slots"] for node in ring["nodes"]) == SLOTS
    assert sum(node["share"] for node in ring["nodes"]) == pytest.approx(1)
    assert slot["slot"] == slot_of("ann")
    assert ring["owners"][slot["slot"]] == slot["node"]
    assert slot["ws"] == {"access-0": "ws://a0", "access-1": "ws://a1"}[slot["node"]]


async def test_sessions_tells_where_a_user_is(cluster: FakeCluster) -> None:
    answer = (await cluster.tidings("sessions", "ann", "--json")).json
    assert answer["user"] == "ann"
    (session,) = answer["sessions"]
    assert {
        "device": "phone",
        "kind": "MOBILE",
        "node": "access-0",
        "session": "s1",
        "since_ms": 1_700_000,
        "address": "198.51.100.7",
    }.items() <= (session.items())
    assert cluster.asked == [admin_pb2.AdminUser(user="ann")]


async def test_kick_says_how_many_sessions_ended(cluster: FakeCluster) -> None:
    assert (await cluster.tidings("kick", "ann", "--device", "phone", "--json")).json == {"kicked": 2}
    assert cluster.asked == [admin_pb2.KickRequest(user="ann", device="phone")]


async def test_broadcast_prints_the_body_of_sent(cluster: FakeCluster) -> None:
    sent = (await cluster.tidings("broadcast", "tea is ready", "--json")).json
    (request,) = cluster.asked
    assert Content.FromString(request.content) == Content(text="tea is ready")
    assert sent == {
        "clientId": request.client_id,
        "messageId": "m1",
        "conversation": "b:all",
        "seq": "7",
        "timeMs": "1700000",
    }


async def test_drain_returns_when_the_node_has_left(cluster: FakeCluster) -> None:
    assert (await cluster.tidings("drain", "access-1", "--pace", "20/s", "--json")).json == {"drained": "access-1"}
    assert cluster.asked == [admin_pb2.AdminDrain(node="access-1", pace_per_s=20)]
    nodes = (await cluster.tidings("nodes", "--json")).json["nodes"]
    assert [node["name"] for node in nodes] == ["access-0", "logic-0"]


async def test_drain_of_an_unknown_node_names_the_known_ones(cluster: FakeCluster) -> None:
    said = await cluster.tidings("drain", "access-9")
    assert said.code == 2
    assert "access-0, access-1, logic-0" in said.err


async def test_a_wrong_operators_token_is_a_sentence(cluster: FakeCluster) -> None:
    said = await cluster.tidings("kick", "ann", token="guessed")
    assert (said.code, said.out) == (1, "")
    assert "operator" in said.err
    assert "Traceback" not in said.err


async def test_without_a_logic_node_there_is_nobody_to_ask(cluster: FakeCluster) -> None:
    await cluster.registries["logic-0"].deregister()
    said = await cluster.tidings("kick", "ann")
    assert said.code == 1
    assert "No logic node is ready" in said.err


async def test_an_etcd_that_does_not_answer_is_a_sentence(cluster: FakeCluster) -> None:
    cluster.etcd = "127.0.0.1:1"
    said = await cluster.tidings("nodes")
    assert said.code == 1
    assert "etcd at 127.0.0.1:1 does not answer" in said.err
    assert "Traceback" not in said.err
