"""The wiring of a logic node; reading it shows the service.

    ops ─▶ registry, Kafka, calls ─▶ cluster ─▶ publisher ─▶ sessions, receipts, hooks ─▶ gRPC ─▶ registration, last

`logic_node` stands on ports, so that a simulation gives it twins; `app` gives it etcd, Kafka and gRPC.

A logic node keeps no state that matters: what it caches it asks for again, what waits for Kafka is told before it ends,
and everything that it was doing may be repeated on another one.

Guarantees: it is in the ring only while it serves. It starts and serves while Kafka is away (degraded).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from services.common.bus.contract import Bus
from services.common.bus.topics import prepare_topics, topic_names
from services.common.clock import Clock
from services.common.cluster import Cluster
from services.common.direct import Direct
from services.common.lifecycle import Lifecycle
from services.common.node import DebugState, NodePorts, NodeShell, shown
from services.common.registry.contract import NodeRecord
from services.common.registry.stateless_registration import StatelessRegistration
from services.common.rpc import Router, RpcServer
from services.common.telemetry.health import Health
from services.logic.admin import Admin
from services.logic.groups.loader import GroupLoader
from services.logic.groups.model import GroupPolicy
from services.logic.messages.hooks import Hooks
from services.logic.messages.sender import MessageSender
from services.logic.messages.signals import Signals
from services.logic.publishing.events import EventEncoder
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.topics import topics_of
from services.logic.receipts.sender import ReceiptSender
from services.logic.requests.cursors import CursorMarker
from services.logic.requests.dispatcher import Dispatcher
from services.logic.requests.group_changes import GroupChanges
from services.logic.requests.in_flight import InFlightLimit
from services.logic.requests.reading import Reading
from services.logic.requests.session_guard import SessionGuard
from services.logic.rpc import AdminServicer, LogicServicer, services
from services.logic.sessions.sessions import ClientSessions
from services.logic.settings import LogicSettings, read_secret
from services.logic.storage_client import StorageClient
from tidings_protocol.ids import new_id


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicPorts(NodePorts):
    """What a logic node stands on."""

    bus: Bus


@asynccontextmanager
async def app(settings: LogicSettings, life: Lifecycle) -> AsyncIterator[None]:
    """A node as a process."""
    async with NodeShell(settings, life) as shell:
        ports = await shell.connect(LogicPorts, kafka=True)
        shell.show(await shell.enter(logic_node(settings, life, ports)))
        yield


@asynccontextmanager
async def logic_node(settings: LogicSettings, life: Lifecycle, ports: LogicPorts) -> AsyncIterator[DebugState]:
    """A node on its ports: ready when entered, drained when left. Gives what /debug/state shows."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        registry, clock, health = ports.registry, ports.clock, ports.health
        cluster = await enter(Cluster(registry))
        await prepare_topics(ports.bus, topics_of(settings), life)

        storage = _storage(settings, ports, cluster)
        conversations = GroupLoader(storage, settings.cached_members_max)
        events = EventEncoder(settings.cluster, enabled=settings.events_enabled)
        direct = await enter(Direct(ports.peers, cluster.node))
        publisher = await enter(_publisher(settings, ports, cluster, direct))
        sessions = _sessions(settings, ports, cluster, storage, publisher)
        receipts = await enter(_receipts(settings, ports, conversations, publisher, events))
        hooks = await enter(_hooks(settings, health)) if settings.hook_url else None

        policy = GroupPolicy(large_above=settings.large_group_threshold, members_max=settings.group_members_max)
        sending = await enter(
            MessageSender(
                storage, conversations, publisher, events, receipts, hooks, held_max=settings.sends_in_flight_max
            )
        )
        marking = CursorMarker(storage, receipts)
        group_changes = GroupChanges(storage, conversations, publisher, events, clock, policy)
        reading = Reading(
            storage, conversations, clock, policy, alive=cluster.alive, page_bytes_max=settings.page_bytes_max
        )
        handling = Dispatcher(reading, marking, group_changes, SessionGuard(storage))
        signals = Signals(conversations, publisher)
        sends, requests = InFlightLimit(settings.sends_in_flight_max), InFlightLimit(settings.requests_in_flight_max)
        logic = LogicServicer(sessions, sending, signals, marking, handling, storage, sends=sends, requests=requests)
        admin = Admin(
            read_secret(settings.operator_token_file),
            storage,
            sending,
            sessions,
            handling,
            group_changes,
            cluster,
            ports.peers,
            content_bytes_max=settings.content_bytes_max,
            timeout_s=settings.rpc_timeout_s,
        )
        server = await enter(ports.serve(settings.rpc_listen, services(logic, AdminServicer(admin), life.request_stop)))
        registration = await enter(
            StatelessRegistration(registry, _record(settings, server, clock), timeout_s=settings.drain_deadline_s)
        )
        health.started()
        try:
            yield {
                "state": lambda: registration.record.state,
                "node": lambda: shown(registration.record),
                "registry": lambda: {"connected": registry.connected},
                "kafka": lambda: {"degraded": publisher.degraded, "backlog_bytes": publisher.backlog_bytes},
                "slots": lambda: len(cluster.ring("logic").slots_of(settings.node)),
                "under_way": lambda: {"sends": sends.under_way, "requests": requests.under_way},
                "memory": lambda: {"groups": conversations.cached, "receipts": receipts.pending},
                "lanes": lambda: {"publish": {"depth": publisher.depth}},
                "nodes": lambda: [shown(record) for record in cluster.membership.nodes],
                "tasks": lambda: life.tasks,
            }
        finally:
            health.set("drain", ok=False, reason="the node is leaving")


def _storage(settings: LogicSettings, ports: LogicPorts, cluster: Cluster) -> StorageClient:
    return StorageClient(
        Router(ports.peers, cluster, "storage"),
        lambda slot: cluster.ring("storage").owner(slot),
        timeout_s=settings.storage_timeout_s,
        budget_s=settings.storage_budget_s,
        batch_max=settings.storage_batch_max,
    )


def _publisher(settings: LogicSettings, ports: LogicPorts, cluster: Cluster, direct: Direct) -> Publisher:
    return Publisher(
        ports.bus,
        cluster,
        topic_names(settings),
        ports.health,
        ports.clock,
        direct,
        wait_s=settings.publish_wait_ms / 1000,
        lanes=settings.publish_lanes,
        waiting_max=settings.publish_waiting_max,
        backlog_bytes_max=settings.publish_backlog_bytes_max,
        parcel_bytes_max=settings.parcel_bytes_max,
    )


def _sessions(
    settings: LogicSettings, ports: LogicPorts, cluster: Cluster, storage: StorageClient, publisher: Publisher
) -> ClientSessions:
    return ClientSessions(
        storage,
        publisher,
        cluster,
        ports.peers,
        ports.clock,
        devices_max=settings.devices_per_user_max,
        evict_timeout_s=settings.rpc_timeout_s / 2,
        connected=lambda: ports.registry.connected,
    )


def _receipts(
    settings: LogicSettings, ports: LogicPorts, conversations: GroupLoader, publisher: Publisher, events: EventEncoder
) -> ReceiptSender:
    return ReceiptSender(
        conversations,
        publisher,
        events,
        ports.clock,
        interval_s=settings.receipt_interval_ms / 1000,
        pending_max=settings.receipts_pending_max,
    )


def _hooks(settings: LogicSettings, health: Health) -> Hooks:
    return Hooks(
        settings.hook_url,
        settings.cluster,
        health,
        token=read_secret(settings.hook_token_file),
        timeout_s=settings.hook_timeout_ms / 1000,
        when_away=settings.hook_when_away,
        batch_max=settings.hook_batch_max,
        calls_max=settings.hook_calls_max,
        content_bytes_max=settings.content_bytes_max,
    )


def _record(settings: LogicSettings, server: RpcServer, clock: Clock) -> NodeRecord:
    return NodeRecord(
        name=settings.node,
        kind="logic",
        boot_id=new_id(),
        rpc=settings.rpc_advertise or server.address,
        weight=settings.weight,
        ops=settings.ops_listen,
        since_ms=clock.wall_ms(),
    )
