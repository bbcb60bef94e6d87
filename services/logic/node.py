"""A logic node: its rooms (wiring.py), what it serves, and when it is in the ring.

    ground ─▶ receipts ─▶ messages ─▶ sessions, requests ─▶ admin ─▶ gRPC ─▶ registration, last

A logic node keeps no state that matters: what it caches it asks for again, what waits for Kafka is told before it ends,
and everything that it was doing may be repeated on another one.

Guarantees: the node is in the ring only while it serves. It starts and serves while Kafka is away (degraded).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from services.common.lifecycle import Lifecycle
from services.common.node import registered, shown
from services.common.registry.stateless_registration import StatelessRegistration
from services.logic.admin import Admin
from services.logic.in_flight import InFlightLimit
from services.logic.messages.rows import RowSender
from services.logic.messages.signals import Signals
from services.logic.messages.stream_parts import StreamParts
from services.logic.messages.telling import EntryTeller
from services.logic.receipts.sender import ReceiptSender
from services.logic.requests.cursors import CursorMarker
from services.logic.requests.dispatcher import Dispatcher
from services.logic.rpc import AdminServicer, LogicServicer, services
from services.logic.settings import LogicSettings
from services.logic.wiring import (
    Ground,
    LogicPorts,
    admin_options,
    changes_of,
    ground_of,
    handlers_of,
    messages_of,
    receipts_of,
    sessions_of,
)


@dataclass(frozen=True, slots=True)
class LogicNode:
    """A node that serves, as /debug/state shows it."""

    settings: LogicSettings
    life: Lifecycle
    ground: Ground
    receipts: ReceiptSender
    sends: InFlightLimit
    requests: InFlightLimit
    registration: StatelessRegistration

    def debug_state(self) -> Mapping[str, Any]:
        """Plain values, as they are now."""
        ground, record = self.ground, self.registration.record
        publisher = ground.publisher
        return {
            "state": record.state,
            "node": shown(record),
            "registry": {"connected": ground.ports.registry.connected},
            "kafka": {"degraded": publisher.degraded, "backlog_bytes": publisher.backlog_bytes},
            "slots": len(ground.cluster.ring("logic").slots_of(self.settings.node)),
            "under_way": {"sends": self.sends.under_way, "requests": self.requests.under_way},
            "memory": {"groups": ground.loader.cached, "receipts": self.receipts.pending},
            "lanes": {"publish": {"depth": publisher.depth}},
            "nodes": [shown(node) for node in ground.cluster.membership.nodes],
            "tasks": self.life.tasks,
        }


@asynccontextmanager
async def logic_node(settings: LogicSettings, life: Lifecycle, ports: LogicPorts) -> AsyncIterator[LogicNode]:
    """A node on its ports: ready when entered, drained when left."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        ground = await enter(ground_of(settings, life, ports))
        receipts = await enter(receipts_of(settings, ground))
        sender = await enter(messages_of(settings, ground, receipts))
        sessions = await enter(sessions_of(settings, ground))
        cursors = CursorMarker(ground.storage, receipts, ground.news)
        changes = await enter(changes_of(ground))
        dispatcher = Dispatcher(*handlers_of(settings, ground, cursors, changes))
        sends, requests = InFlightLimit(settings.sends_in_flight_max), InFlightLimit(settings.requests_in_flight_max)
        logic = LogicServicer(
            sessions,
            sender,
            RowSender(sender, ground.storage, ground.loader, ground.publisher, receipts),
            Signals(ground.loader, ground.publisher, ground.blocks, ports.clock),
            StreamParts(
                ground.loader,
                ground.storage,
                ground.publisher,
                ground.blocks,
                ports.clock,
                content_bytes_max=settings.content_bytes_max,
            ),
            cursors,
            dispatcher,
            ground.storage,
            EntryTeller(ground.publisher, sender),
            sends=sends,
            requests=requests,
        )
        admin = Admin(
            ground.storage, sender, sessions, dispatcher, changes, ground.cluster, ports.peers, admin_options(settings)
        )
        served = services(logic, AdminServicer(admin), life.request_stop)
        server = await enter(ports.serve(settings.rpc_listen, served))
        registration = await enter(registered(settings, "logic", server, ports))
        yield LogicNode(settings, life, ground, receipts, sends, requests, registration)
