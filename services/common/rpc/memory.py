"""Calls between nodes without a network, for simulation and fast tests. They fail on command.

    network = MemoryNetwork()
    async with network.serve("logic-0:1", [(add_LogicServicer_to_server, servicer)]):
        peers = MemoryPeers(network, "access-0")
        network.fault = fault       an async function: awaits to delay, raises Unreachable or TimedOut to fail a call

Guarantees: requests and replies are encoded and decoded, so nobody shares an object, and have at most as many bytes as
on the wire; errors are translated as there; a method whose caller gives up is cancelled, and so are all methods of a
server that is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from google.protobuf.message import Message

from services.common.registry.contract import NodeRecord
from services.common.rpc.contract import MESSAGE_BYTES_MAX, Reply, Service, TimedOut, Unreachable, too_large
from services.common.rpc.faults import from_fault, to_fault
from services.common.rpc.server import Method, RpcServer, answer, methods_of
from services.common.scope import TaskScope
from services.common.telemetry import tracing
from tidings_protocol.errors import TidingsError


@dataclass(frozen=True, slots=True)
class Passage:
    """A request or a reply on its way: what a fault decides on."""

    source: str
    address: str
    method: str
    phase: Literal["request", "reply"]


Fault = Callable[[Passage], Awaitable[None]]


class MemoryNetwork:
    """All addresses that are served."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self._servers: dict[str, tuple[dict[str, Method], TaskScope]] = {}

    @asynccontextmanager
    async def serve(self, address: str, services: Sequence[Service]) -> AsyncIterator[RpcServer]:
        """Answers at this address while it is entered. Raises OSError if somebody else does."""
        if address in self._servers:
            raise OSError(f"cannot listen on {address}: the port is in use")
        methods = {method.name: method for found in methods_of(services).values() for method in found}
        async with TaskScope() as scope:
            self._servers[address] = (methods, scope)
            try:
                yield RpcServer(address)
            finally:
                del self._servers[address]

    async def carry(self, passage: Passage, request: bytes, timeout_s: float, traceparent: str) -> bytes:
        """Carries one call to its server, and the reply back."""
        if len(request) > MESSAGE_BYTES_MAX:
            raise too_large(passage.method)
        await self._pass(passage)
        server = self._servers.get(passage.address)
        if server is None:
            raise Unreachable(f"nothing listens at {passage.address}: try again")
        methods, scope = server
        work = scope.spawn(
            _run(methods[passage.method], request, _Context(timeout_s, traceparent)), name=passage.method
        )
        try:
            outcome: bytes | TidingsError = await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.cancelled():
                raise Unreachable(f"the node at {passage.address} stopped: try again") from None
            work.cancel()
            raise
        await self._pass(Passage(passage.source, passage.address, passage.method, "reply"))
        if isinstance(outcome, TidingsError):
            raise from_fault(to_fault(outcome))
        if len(outcome) > MESSAGE_BYTES_MAX:
            raise too_large(passage.method)
        return outcome

    async def _pass(self, passage: Passage) -> None:
        if self.fault is not None:
            await self.fault(passage)


class MemoryPeers:
    """Calls of one node, by its name."""

    def __init__(self, network: MemoryNetwork, source: str) -> None:
        self._network = network
        self._source = source

    async def call(
        self, method: str, request: Message, reply_type: type[Reply], *, node: NodeRecord, timeout_s: float
    ) -> Reply:
        passage = Passage(self._source, node.rpc, method, "request")
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._network.carry(passage, request.SerializeToString(), timeout_s, tracing.current())
        except TimeoutError:
            raise TimedOut(f"the node at {node.rpc} did not answer in time: try again") from None
        return reply_type.FromString(reply)


@dataclass(frozen=True, slots=True)
class _Context:
    """A call's context: as much of gRPC's as services may use."""

    timeout_s: float
    traceparent: str

    def time_remaining(self) -> float:
        return self.timeout_s

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ((tracing.HEADER, self.traceparent),) if self.traceparent else ()


async def _run(method: Method, request: bytes, context: _Context) -> bytes | TidingsError:
    """Errors are outcomes here: one that is raised in a task would end the scope that owns it."""
    try:
        return method.reply_to(await answer(method.name, method.behaviour, method.request_from(request), context))
    except TidingsError as error:
        return error
