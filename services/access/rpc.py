"""What other nodes ask of this one: visits (access nodes), evictions (logic nodes), deliveries while Kafka is away
(both).

Guarantees: all of them may be repeated. Does not know: gRPC, beyond the shape of a servicer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from protos.tidings.internal.v1 import access_pb2, access_pb2_grpc
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.session.events import EndRequested
from services.access.session.session import Phase
from services.common.registry.contract import NodeIncarnation
from tidings_protocol import close


class AccessServicer(access_pb2_grpc.AccessServicer):
    """tidings.internal.v1.Access. `deliver` takes encoded parcels."""

    def __init__(
        self, hub: Hub[Connection], forwarding: ForwardingTable, deliver: Callable[[Sequence[bytes]], Awaitable[None]]
    ) -> None:
        self._hub = hub
        self._forwarding = forwarding
        self._deliver = deliver

    async def Visit(self, request: access_pb2.VisitBatch, context: Any) -> access_pb2.VisitOutcome:  # noqa: ARG002, N802
        """Takes visitors of another node: from the answer on, what these users get is forwarded there."""
        host = NodeIncarnation(request.node, request.boot_id)
        self._forwarding.add(host, request.arrived)
        self._forwarding.remove(host, request.left)
        return access_pb2.VisitOutcome()

    async def Evict(self, request: access_pb2.EvictBatch, context: Any) -> access_pb2.EvictOutcome:  # noqa: ARG002, N802
        """Ends these sessions, also those whose welcome is still on its way."""
        evicted = 0
        for eviction in request.evictions:
            for connection in self._hub.connections_of(eviction.user):
                if connection.session_id == eviction.session and connection.session.phase is not Phase.CLOSING:
                    connection.handle(EndRequested(close.reason_of(eviction.code), eviction.message))
                    evicted += 1
        return access_pb2.EvictOutcome(evicted=evicted)

    async def Deliver(  # noqa: N802
        self,
        request: access_pb2.DeliverBatch,
        context: Any,  # noqa: ARG002
    ) -> access_pb2.DeliverOutcome:
        """Returns when it is written to the connections."""
        await self._deliver(request.parcels)
        return access_pb2.DeliverOutcome()
