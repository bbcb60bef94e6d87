"""What a logic node serves at its edge: refusals as a whole, the operator's door, the drain."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from protos.tidings.internal.v1 import admin_pb2, admin_pb2_grpc, common_pb2, logic_pb2, node_pb2
from services.common.rpc import serve
from services.logic.rpc import AdminServicer
from tests.support.cluster.logic_nodes import nodes
from tests.unit.logic.harness import TOKEN, logic
from tidings_protocol import client_pb2
from tidings_protocol.errors import Overloaded, Unauthenticated

SERVICE = "/tidings.internal.v1."


async def test_more_than_fits_is_refused_at_once_with_a_retry_time() -> None:
    async with nodes(storages=1, sends_in_flight_max=1, requests_in_flight_max=1) as there:
        gate = asyncio.Event()
        held: list[str] = []

        async def wait(command: str) -> None:
            held.append(command)
            await gate.wait()

        there.faults["storage-0"].delay = wait
        async with asyncio.TaskGroup() as at_once:
            first = at_once.create_task(there.send("amy", "d:amy|bob", "one"))
            reading = at_once.create_task(there.ask("amy", sync=client_pb2.Sync()))
            # One of each; the node's own look at the time is none of them.
            await there.until(lambda: sum(not command.startswith("time.") for command in held) >= 2)
            refused = await there.send("amy", "d:amy|cleo", "two", "three")
            assert [outcome.fault.code for outcome in refused] == ["OVERLOADED", "OVERLOADED"]
            assert refused[0].fault.retry_after_ms > 0
            assert (await there.ask("bob", sync=client_pb2.Sync())).error.code == "OVERLOADED"
            assert (await there.hello("bob", "s1")).fault.code == "OVERLOADED"
            ack = logic_pb2.AckItem(user="bob", device="phone", number=1)
            with pytest.raises(Overloaded):
                await there.call("bob", "Acknowledge", logic_pb2.AckBatch(items=[ack]), common_pb2.Empty)
            gate.set()
        assert [outcome.seq for outcome in first.result()] == [1]
        assert reading.result().HasField("page")


async def test_a_node_that_is_asked_to_drain_leaves() -> None:
    async with nodes(logics=2) as there:
        node = there.cluster.node("logic-1")
        assert node is not None
        request = node_pb2.DrainRequest(pace_per_s=3)
        await there.peers.call(f"{SERVICE}Node/Drain", request, common_pb2.Empty, node=node, timeout_s=1)
        await there.until(lambda: there.cluster.node("logic-1") is None)
        assert [outcome.seq for outcome in await there.send("amy", "d:amy|bob", "one")] == [1]


async def test_a_node_whose_lease_ran_out_comes_back_as_a_new_boot() -> None:
    async with nodes() as there:
        before = there.cluster.node("logic-0")
        assert before is not None
        there.registry.expire("logic-0")

        def is_new() -> bool:
            node = there.cluster.node("logic-0")
            return node is not None and node.boot_id != before.boot_id and node.state == "ready"

        await there.until(is_new)
        assert [outcome.seq for outcome in await there.send("amy", "d:amy|bob", "one")] == [1]


async def test_the_operators_calls_need_the_token_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("a long enough operator's token\n")
    async with nodes(operator_token_file=str(file)) as there:
        node = there.cluster.node("logic-0")
        assert node is not None
        with pytest.raises(Unauthenticated):
            await there.peers.call(
                f"{SERVICE}Admin/User",
                admin_pb2.AdminUser(user="amy"),
                common_pb2.Empty,
                node=node,
                timeout_s=1,
            )


async def test_the_token_travels_in_the_metadata_of_grpc() -> None:
    async with logic() as node:
        services = [(admin_pb2_grpc.add_AdminServicer_to_server, AdminServicer(node.admin))]
        async with serve("127.0.0.1:0", services) as server, grpc.aio.insecure_channel(server.address) as channel:
            stub = admin_pb2_grpc.AdminStub(channel)
            user = admin_pb2.AdminUser(user="amy")
            metadata = (("authorization", f"Bearer {TOKEN}"),)
            assert (await stub.User(user, timeout=5, metadata=metadata)).user == "amy"
            assert not (await stub.Sessions(user, timeout=5, metadata=metadata)).sessions
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.User(user, timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
