"""Calls between nodes: over gRPC on loopback and on the twin alike."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest

from protos.tidings.internal.v1 import common_pb2, logic_pb2, logic_pb2_grpc
from services.common.registry.contract import NodeRecord
from services.common.rpc import Peers, PeersPort, RpcServer, Service, TimedOut, Tls, Unreachable, serve
from services.common.rpc.contract import STREAMED_BYTES_MAX
from services.common.rpc.memory import MemoryNetwork, MemoryPeers, Passage
from services.common.rpc.stream import CONVERSE
from services.common.telemetry import metrics, tracing
from tests.support.network.certificates import Authority
from tests.support.network.ports import free_address
from tests.support.traces import a_trace, recording
from tidings_protocol.errors import (
    BadFrame,
    BadRequest,
    Forbidden,
    Internal,
    NotFound,
    Overloaded,
    RateLimited,
    TidingsError,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

SEND = "/tidings.internal.v1.Logic/Send"
LONG_S = 20.0
CALLS_AT_ONCE, CALLS_MAX = 2_000, 100


class Logic(logic_pb2_grpc.LogicServicer):
    """Answers with the number of items, fails or waits when told."""

    def __init__(self) -> None:
        self.fail: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.traces: list[str] = []

    async def Send(self, request: logic_pb2.SendBatch, context: Any) -> logic_pb2.SendOutcomes:  # noqa: N802
        self.traces.append(tracing.current())
        self.begun.set()
        if self.hold is not None:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if self.fail is not None:
            raise self.fail
        return logic_pb2.SendOutcomes(outcomes=[logic_pb2.SendOutcome(seq=n + 1) for n in range(len(request.items))])


def new_logic() -> Logic:
    return Logic()  # type: ignore[abstract]  # only Send is called


def service_of(logic: Logic) -> Service:
    return (logic_pb2_grpc.add_LogicServicer_to_server, logic)


def at(address: str) -> NodeRecord:
    return NodeRecord("logic-0", "logic", "boot", address)


def batch(count: int = 1) -> logic_pb2.SendBatch:
    return logic_pb2.SendBatch(items=[logic_pb2.SendItem(sender="ann")] * count)


class Net(Protocol):
    peers: PeersPort

    def serve(self, address: str, services: Sequence[Service]) -> AbstractAsyncContextManager[RpcServer]: ...


class GrpcNet:
    def __init__(self, peers: Peers) -> None:
        self.peers: PeersPort = peers

    def serve(self, address: str, services: Sequence[Service]) -> AbstractAsyncContextManager[RpcServer]:
        return serve(address, services, grace_s=0)


class TwinNet:
    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.peers: PeersPort = MemoryPeers(self.network, "access-0")

    def serve(self, address: str, services: Sequence[Service]) -> AbstractAsyncContextManager[RpcServer]:
        return self.network.serve(address, services)


@pytest.fixture(params=["grpc", "twin"])
async def net(request: pytest.FixtureRequest) -> AsyncIterator[Net]:
    if request.param == "twin":
        yield TwinNet()
    else:
        async with Peers() as peers:
            yield GrpcNet(peers)


async def send(peers: PeersPort, server: RpcServer, count: int = 1, timeout_s: float = LONG_S) -> int:
    reply = await peers.call(SEND, batch(count), logic_pb2.SendOutcomes, node=at(server.address), timeout_s=timeout_s)
    return len(reply.outcomes)


async def test_a_call_is_answered(net: Net) -> None:
    async with net.serve("127.0.0.1:0", [service_of(new_logic())]) as server:
        assert await send(net.peers, server, 3) == 3


@pytest.mark.parametrize(
    "error",
    [
        BadFrame("bad"),
        BadRequest("wrong"),
        Unauthenticated("who?"),
        Forbidden("no"),
        NotFound("nothing"),
        TooLarge("much"),
        RateLimited("slow", 1200),
        Overloaded("full", 250),
        Unavailable("away", 700),
        Internal("broken"),
    ],
    ids=lambda error: error.code,
)
async def test_an_error_of_the_service_reaches_the_caller_as_it_is(net: Net, error: TidingsError) -> None:
    logic = new_logic()
    logic.fail = error
    async with net.serve("127.0.0.1:0", [service_of(logic)]) as server:
        with pytest.raises(type(error)) as raised:
            await send(net.peers, server)
    assert type(raised.value) is type(error), "not taken for a failure of the call itself"
    assert (raised.value.message, raised.value.retry_after_ms) == (error.message, error.retry_after_ms)


async def test_a_defect_is_internal_and_its_details_stay_in_the_log(net: Net) -> None:
    logic = new_logic()
    logic.fail = RuntimeError("secret detail")
    async with net.serve("127.0.0.1:0", [service_of(logic)]) as server:
        with pytest.raises(Internal) as raised:
            await send(net.peers, server)
        assert "secret" not in raised.value.message
        logic.fail = None
        assert await send(net.peers, server) == 1


async def test_a_call_that_takes_too_long_is_given_up_and_cancelled_on_the_other_side(net: Net) -> None:
    logic = new_logic()
    logic.hold = asyncio.Event()
    async with net.serve("127.0.0.1:0", [service_of(logic)]) as server:
        with pytest.raises(TimedOut):
            await send(net.peers, server, timeout_s=0.1)
        async with asyncio.timeout(LONG_S):
            await logic.cancelled.wait()


async def test_a_caller_that_is_cancelled_cancels_the_call(net: Net) -> None:
    logic = new_logic()
    logic.hold = asyncio.Event()
    async with net.serve("127.0.0.1:0", [service_of(logic)]) as server:
        task = asyncio.create_task(send(net.peers, server))
        await logic.begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(LONG_S):
            await logic.cancelled.wait()


async def test_a_node_that_is_not_there_is_unreachable(net: Net) -> None:
    async with net.serve("127.0.0.1:0", [service_of(new_logic())]) as server:
        pass
    with pytest.raises(Unreachable):
        await send(net.peers, server)


async def test_a_node_that_stops_while_it_works_is_unreachable(net: Net) -> None:
    logic = new_logic()
    logic.hold = asyncio.Event()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(net.serve("127.0.0.1:0", [service_of(logic)]))
        task = asyncio.create_task(send(net.peers, server))
        await logic.begun.wait()
        await stack.aclose()
        with pytest.raises(Unreachable):
            await task


async def test_a_node_on_version_6_is_called(net: Net) -> None:
    async with net.serve("[::1]:0", [service_of(new_logic())]) as server:
        assert server.address.startswith("[::1]:")
        assert await send(net.peers, server, 3) == 3


async def test_a_port_in_use_is_an_error_that_says_so(net: Net) -> None:
    async with net.serve("127.0.0.1:0", [service_of(new_logic())]) as server:
        with pytest.raises(OSError, match="the port is in use"):
            async with net.serve(server.address, [service_of(new_logic())]):
                pytest.fail("the port was taken twice")


async def test_calls_are_counted_by_method_and_code(net: Net) -> None:
    def count(code: str) -> float:
        return sum(
            sample.value
            for family in metrics.RPC_SERVER_SECONDS.collect()
            for sample in family.samples
            if sample.name.endswith("_count") and sample.labels == {"method": "Logic/Send", "code": code}
        )

    logic = new_logic()
    before = count("ok"), count("not_found")
    async with net.serve("127.0.0.1:0", [service_of(logic)]) as server:
        await send(net.peers, server)
        logic.fail = NotFound("nothing")
        with pytest.raises(NotFound):
            await send(net.peers, server)
    assert (count("ok"), count("not_found")) == (before[0] + 1, before[1] + 1)


async def test_a_trace_goes_along(net: Net) -> None:
    logic = new_logic()
    with recording():
        async with net.serve("127.0.0.1:0", [service_of(logic)]) as server:
            with a_trace() as traceparent:
                await send(net.peers, server)
            await send(net.peers, server)
    assert tracing.id_of(logic.traces[0]) == tracing.id_of(traceparent)
    assert logic.traces[1] == ""


# ---- gRPC only


async def test_a_call_without_a_deadline_is_refused() -> None:
    async with (
        serve("127.0.0.1:0", [service_of(new_logic())]) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        call: Callable[..., Any] = logic_pb2_grpc.LogicStub(channel).Send
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(batch())
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "needs a deadline" in (raised.value.details() or "")


async def test_an_answer_over_the_limit_is_one_calls_error_and_the_others_go_on(net: Net) -> None:
    """By stream and by calls: what is written together would be too large for gRPC, and end all that is under way."""
    logic = new_logic()

    async def answer(request: logic_pb2.SendBatch, context: Any) -> logic_pb2.SendOutcomes:
        size = request.items[0].reply_to
        return logic_pb2.SendOutcomes(outcomes=[logic_pb2.SendOutcome(fault=common_pb2.Fault(message="x" * size))])

    logic.Send = answer  # type: ignore[method-assign]
    async with net.serve("127.0.0.1:0", [service_of(logic)]) as server:
        sizes = [1, 17 * 1024 * 1024, 6 * 1024 * 1024, 6 * 1024 * 1024, 6 * 1024 * 1024, 1]
        calls = [
            net.peers.call(
                SEND,
                logic_pb2.SendBatch(items=[logic_pb2.SendItem(reply_to=size)]),
                logic_pb2.SendOutcomes,
                node=at(server.address),
                timeout_s=LONG_S,
            )
            for size in sizes
        ]
        replies = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(replies[1], TooLarge)
    assert [len(each.outcomes[0].fault.message) for each in replies if not isinstance(each, BaseException)] == [
        size for size in sizes if size != 17 * 1024 * 1024
    ]


async def test_many_large_requests_at_once_are_several_messages_of_the_stream() -> None:
    large = logic_pb2.SendBatch(items=[logic_pb2.SendItem(content=bytes(STREAMED_BYTES_MAX - 100))])
    async with serve("127.0.0.1:0", [service_of(new_logic())]) as server, Peers() as peers:
        calls = [
            peers.call(SEND, large, logic_pb2.SendOutcomes, node=at(server.address), timeout_s=LONG_S)
            for _ in range(80)
        ]
        assert [len(reply.outcomes) for reply in await asyncio.gather(*calls)] == [1] * 80


async def test_a_message_over_the_limit_is_too_large() -> None:
    large = logic_pb2.SendBatch(items=[logic_pb2.SendItem(content=bytes(17 * 1024 * 1024))])
    async with serve("127.0.0.1:0", [service_of(new_logic())]) as server, Peers() as peers:
        with pytest.raises(TooLarge):
            await peers.call(SEND, large, logic_pb2.SendOutcomes, node=at(server.address), timeout_s=LONG_S)


async def test_too_many_calls_at_once_are_refused() -> None:
    logic = new_logic()
    logic.hold = asyncio.Event()
    async with serve("127.0.0.1:0", [service_of(logic)], grace_s=0, calls_max=1) as server, Peers() as peers:
        task = asyncio.create_task(send(peers, server))
        await logic.begun.wait()
        with pytest.raises(Overloaded):
            await send(peers, server)
        logic.hold.set()
        assert await task == 1


async def test_very_many_calls_at_once_are_refused_as_too_many_and_none_is_dropped() -> None:
    logic = new_logic()
    logic.hold = asyncio.Event()
    async with (
        serve("127.0.0.1:0", [service_of(logic)], calls_max=CALLS_MAX) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        call: Callable[..., Any] = logic_pb2_grpc.LogicStub(channel).Send

        async def code() -> grpc.StatusCode:
            try:
                await call(batch(), timeout=10 * LONG_S)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        answers = asyncio.as_completed([code() for _ in range(CALLS_AT_ONCE)])
        refused = {await answer for answer in itertools.islice(answers, CALLS_AT_ONCE - CALLS_MAX)}
        logic.hold.set()
        taken = {await answer for answer in answers}
    assert (refused, taken) == ({grpc.StatusCode.RESOURCE_EXHAUSTED}, {grpc.StatusCode.OK})


async def test_a_method_of_another_version_is_internal_and_says_so() -> None:
    async with serve("127.0.0.1:0", [service_of(new_logic())]) as server, Peers() as peers:
        with pytest.raises(Internal, match="another version"):
            await peers.call(f"{SEND}Later", batch(), logic_pb2.SendOutcomes, node=at(server.address), timeout_s=LONG_S)


async def test_a_call_does_not_wait_for_another_on_its_stream() -> None:
    logic = new_logic()
    logic.hold = asyncio.Event()
    async with serve("127.0.0.1:0", [service_of(logic)]) as server, Peers() as peers:
        held = asyncio.create_task(send(peers, server, 1))
        await logic.begun.wait()
        hold, logic.hold = logic.hold, None
        assert await asyncio.gather(*(send(peers, server, count) for count in range(50))) == list(range(50))
        assert not held.done()
        hold.set()
        assert await held == 1


async def test_a_request_that_cannot_be_read_fails_alone() -> None:
    logic = new_logic()
    logic.hold = asyncio.Event()
    async with serve("127.0.0.1:0", [service_of(logic)]) as server, Peers() as peers:
        held = asyncio.create_task(send(peers, server, 3))
        await logic.begun.wait()
        stream = peers._channels[server.address].stream
        assert stream is not None
        with pytest.raises(Internal, match="cannot be read"):
            await stream.ask(SEND, b"\xff", LONG_S, "")
        logic.hold.set()
        assert await held == 3


async def test_a_reply_that_cannot_be_written_fails_alone() -> None:
    class Broken(Logic):
        async def Send(self, request: logic_pb2.SendBatch, context: Any) -> logic_pb2.SendOutcomes:  # noqa: N802
            reply = await super().Send(request, context)
            return reply if reply.outcomes else None  # type: ignore[return-value]  # a defect

    logic = Broken()  # type: ignore[abstract]
    logic.hold = asyncio.Event()
    async with serve("127.0.0.1:0", [service_of(logic)]) as server, Peers() as peers:
        held = asyncio.create_task(send(peers, server, 3))
        await logic.begun.wait()
        hold, logic.hold = logic.hold, None
        with pytest.raises(Internal, match="because of a defect"):
            await send(peers, server, 0)
        hold.set()
        assert await held == 3


async def test_a_node_that_writes_what_is_no_reply_ends_its_stream_and_not_the_process_of_its_caller() -> None:
    async def converse(_: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        await context.read()
        await context.write(b"\xff")

    server = grpc.aio.server()
    service, _, method = CONVERSE.strip("/").partition("/")
    handler = grpc.stream_stream_rpc_method_handler(converse)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with Peers() as peers:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await send(peers, RpcServer(f"127.0.0.1:{port}"))
    await server.stop(0)


async def test_leaving_a_server_answers_what_is_under_way() -> None:
    logic = new_logic()
    logic.hold = asyncio.Event()
    async with Peers() as peers:
        async with serve("127.0.0.1:0", [service_of(logic)], grace_s=LONG_S) as server:
            calls = [asyncio.create_task(send(peers, server, count)) for count in range(3)]
            await logic.begun.wait()
            asyncio.get_running_loop().call_later(0.05, logic.hold.set)
        assert await asyncio.gather(*calls) == [0, 1, 2]


async def test_a_node_of_a_version_without_streams_gets_each_call_by_itself() -> None:
    server = grpc.aio.server()
    logic_pb2_grpc.add_LogicServicer_to_server(new_logic(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    old = RpcServer(f"127.0.0.1:{port}")
    async with Peers() as peers:
        assert await asyncio.gather(*(send(peers, old, count) for count in range(5))) == list(range(5))
        assert await send(peers, old, 7) == 7
    await server.stop(0)


async def test_a_large_request_goes_by_itself() -> None:
    large = logic_pb2.SendBatch(items=[logic_pb2.SendItem(content=bytes(STREAMED_BYTES_MAX))])
    async with serve("127.0.0.1:0", [service_of(new_logic())]) as server, Peers() as peers:
        reply = await peers.call(SEND, large, logic_pb2.SendOutcomes, node=at(server.address), timeout_s=LONG_S)
        assert len(reply.outcomes) == 1
        assert peers._channels[server.address].stream is None


async def test_a_node_that_comes_back_is_reached_again_by_the_same_channel() -> None:
    address = free_address()
    async with Peers() as peers:
        async with serve(address, [service_of(new_logic())], grace_s=0) as server:
            assert await send(peers, server) == 1
        with pytest.raises(Unreachable):
            await send(peers, server)
        async with serve(address, [service_of(new_logic())], grace_s=0), asyncio.timeout(LONG_S):
            while True:
                try:
                    assert await send(peers, server) == 1
                    break
                except Unreachable:
                    await asyncio.sleep(0)


async def test_idle_channels_are_closed_when_another_is_opened() -> None:
    def channels() -> float:
        return float(metrics.RPC_CHANNELS._value.get())

    before = channels()
    logic = new_logic()
    async with Peers(idle_s=-1) as peers:
        for _ in range(3):
            async with serve("127.0.0.1:0", [service_of(logic)], grace_s=0) as server:
                assert await send(peers, server) == 1
        assert channels() == before + 1
    assert channels() == before


async def test_leaving_the_peers_ends_a_call_under_way() -> None:
    logic = new_logic()
    logic.hold = asyncio.Event()
    async with serve("127.0.0.1:0", [service_of(logic)], grace_s=0) as server:
        async with Peers() as peers:
            task = asyncio.create_task(send(peers, server))
            await logic.begun.wait()
        with pytest.raises(Unreachable):
            await task


LOCAL = "127.0.0.1"


async def test_with_certificates_only_nodes_of_the_same_authority_are_answered(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    theirs = Authority(tmp_path / "theirs")
    async with serve("127.0.0.1:0", [service_of(new_logic())], tls=tls(ours, "storage", LOCAL), grace_s=0) as server:
        async with Peers(tls=tls(ours, "logic", LOCAL)) as peers:
            assert await send(peers, server) == 1
        for stranger in (
            tls(theirs, "logic", LOCAL),
            None,
            Tls(*theirs.issue("logic", LOCAL), ours.file),
            Tls(*ours.issue("late", LOCAL, days=-1), ours.file),
        ):
            async with Peers(tls=stranger) as peers:
                with pytest.raises(Unreachable):
                    await send(peers, server)


async def test_a_renewed_certificate_counts_from_the_next_connection_on_and_a_broken_one_does_not(
    tmp_path: Path,
) -> None:
    first, second = Authority(tmp_path / "first"), Authority(tmp_path / "second")
    pair = first.issue("node", "127.0.0.1")
    tls = Tls(pair.certificate, pair.key, first.file)
    other = second.issue("node", "127.0.0.1")
    async with (
        Peers(tls=tls) as peers,
        Peers(tls=Tls(other.certificate, other.key, second.file)) as renewed,
        serve("127.0.0.1:0", [service_of(new_logic())], tls=tls) as server,
    ):
        assert await send(peers, server, 1) == 1

        key = pair.key.read_bytes()
        pair.key.write_bytes(other.key.read_bytes())
        with pytest.raises((OSError, ValueError)):
            await tls.renew()
        pair.key.write_bytes(key)
        assert await send(peers, server, 2) == 2
        with pytest.raises(Unreachable):
            await send(renewed, server)

        for old, new in ((pair.certificate, other.certificate), (pair.key, other.key), (first.file, second.file)):
            old.write_bytes(new.read_bytes())
        await tls.renew()
        assert await send(peers, server, 3) == 3
        async with Peers(tls=Tls(other.certificate, other.key, second.file)) as fresh:
            assert await send(fresh, server, 4) == 4


async def test_certificates_may_be_issued_for_a_name_instead_of_addresses(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    named = tls(ours, "node")
    async with serve("127.0.0.1:0", [service_of(new_logic())], tls=named, grace_s=0) as server:
        async with Peers(tls=named) as peers:
            with pytest.raises(Unreachable):
                await send(peers, server)
        async with Peers(tls=replace(named, server_name="node")) as peers:
            assert await send(peers, server) == 1


def tls(authority: Authority, name: str, *addresses: str) -> Tls:
    """What a node has that holds a certificate for this name."""
    return Tls(*authority.issue(name, *addresses), authority.file)


# ---- the twin only


async def test_the_twin_fails_on_command_before_and_after_the_call() -> None:
    network, logic = MemoryNetwork(), new_logic()
    passages: list[Passage] = []
    failing: set[str] = set()

    async def fault(passage: Passage) -> None:
        passages.append(passage)
        if passage.phase in failing:
            raise TimedOut("lost on the way")

    network.fault = fault
    peers = MemoryPeers(network, "access-0")
    async with network.serve("logic-0:1", [service_of(logic)]) as server:
        assert await send(peers, server) == 1
        assert [(p.source, p.address, p.method, p.phase) for p in passages] == [
            ("access-0", "logic-0:1", SEND, "request"),
            ("access-0", "logic-0:1", SEND, "reply"),
        ]
        for phase, done in (("request", 1), ("reply", 2)):
            failing.clear()
            failing.add(phase)
            with pytest.raises(TimedOut):
                await send(peers, server)
            assert len(logic.traces) == done
