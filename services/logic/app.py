"""The wiring of a logic node; reading it shows the service.

    ops ─▶ registry, Kafka, calls ─▶ cluster ─▶ publisher ─▶ sessions, receipts, hooks ─▶ gRPC ─▶ enrolment, last

`logic_node` stands on ports, so that a simulation gives it twins; `app` gives it etcd, Kafka and gRPC.

A logic node keeps no state that matters: what it caches it asks for again, what waits for Kafka is told before it ends,
and everything that it was doing may be repeated on another one.

Guarantees: it is in the ring only while it serves. It starts and serves while Kafka is away (degraded).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from services.common.bus.contract import Bus
from services.common.certificates import Certificates, watch_inner
from services.common.clock import Clock, SystemClock
from services.common.cluster import Cluster
from services.common.direct import Direct
from services.common.lifecycle import Lifecycle
from services.common.registry.contract import NodeRecord, Registry
from services.common.registry.enrolment import Enrolment
from services.common.rpc import Peers, PeersPort, Router, RpcServer, Service, serve, tls_of
from services.common.telemetry import logs
from services.common.telemetry.health import Health
from services.common.telemetry.ops import OpsServer
from services.logic.admin import Admin
from services.logic.groups.loader import Conversations
from services.logic.groups.model import Policy
from services.logic.messages.hooks import Hooks
from services.logic.messages.sending import Sending
from services.logic.messages.signals import Signals
from services.logic.publishing.events import EventEncoder
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.topics import topics_of, wanted
from services.logic.receipts.sender import Receipts
from services.logic.requests.dispatcher import Handling
from services.logic.requests.group_changes import GroupActs
from services.logic.requests.in_flight import Admission
from services.logic.requests.marking import Marking
from services.logic.requests.reading import Reading
from services.logic.requests.standing import Standing
from services.logic.rpc import AdminServicer, LogicServicer, NodeServicer, services
from services.logic.sessions.sessions import Sessions
from services.logic.settings import LogicSettings, read_secret
from services.logic.storage_client import StorageClient
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import new_id

TOPICS_WAIT_S = 10.0
TOPICS_RETRY_S = 1.0

log = logs.get_logger(__name__)


# services.common.rpc.serve, or its twin.
Serve = Callable[[str, Sequence[Service]], AbstractAsyncContextManager[RpcServer]]


@dataclass(frozen=True, slots=True)
class Ports:
    """What a logic node stands on; entered by whoever made them."""

    registry: Registry
    bus: Bus
    peers: PeersPort
    serve: Serve
    clock: Clock
    health: Health


@asynccontextmanager
async def app(settings: LogicSettings, life: Lifecycle) -> AsyncIterator[None]:
    """A node as a process."""
    # Not needed, and not to be had, where a simulation wires nodes to twins.
    from services.common.bus.kafka import KafkaBus
    from services.common.bus.kafka_security import kafka_security_of
    from services.common.registry.etcd import EtcdRegistry
    from services.common.registry.etcd_client import etcd_tls_of

    health = Health()
    state: dict[str, Callable[[], Any]] = {"state": lambda: "starting"}
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        await enter(OpsServer(settings.ops_listen, health, lambda: {name: value() for name, value in state.items()}))
        registry = EtcdRegistry(
            settings.etcd_endpoints,
            settings.cluster,
            lease_ttl_s=settings.lease_ttl_s,
            tls=etcd_tls_of(settings),
        )
        bus = KafkaBus(settings.kafka_bootstrap, settings.node, security=kafka_security_of(settings))
        tls = tls_of(settings)
        certificates = Certificates()
        rpc = tls.renew if tls is not None else None
        watch_inner(certificates, settings, rpc=rpc, etcd=registry.renew_certificate, kafka=bus.renew_certificate)
        life.spawn(certificates.run(), name="certificates")
        ports = Ports(
            registry=await enter(registry),
            bus=await enter(bus),
            peers=await enter(Peers(tls=tls)),
            serve=partial(serve, tls=tls),
            clock=SystemClock(),
            health=health,
        )
        state.update(await enter(logic_node(settings, life, ports)))
        yield


@asynccontextmanager
async def logic_node(
    settings: LogicSettings, life: Lifecycle, ports: Ports
) -> AsyncIterator[Mapping[str, Callable[[], Any]]]:
    """A node on its ports: ready when entered, drained when left. Gives what /debug/state shows."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        registry, clock, health = ports.registry, ports.clock, ports.health
        cluster = await enter(Cluster(registry))
        await _prepare_topics(settings, ports.bus, life)

        storage = _storage(settings, ports, cluster)
        conversations = Conversations(storage, settings.cached_members_max)
        events = EventEncoder(settings.cluster, enabled=settings.events_enabled)
        direct = await enter(Direct(ports.peers, cluster.node))
        publisher = await enter(_publisher(settings, ports, cluster, direct))
        sessions = _sessions(settings, ports, cluster, storage, publisher)
        receipts = await enter(_receipts(settings, ports, conversations, publisher, events))
        hooks = await enter(_hooks(settings, health)) if settings.hook_url else None

        policy = Policy(large_above=settings.large_group_threshold, members_max=settings.group_members_max)
        sending = await enter(
            Sending(storage, conversations, publisher, events, receipts, hooks, held_max=settings.sends_in_flight_max)
        )
        marking = Marking(storage, receipts)
        group_acts = GroupActs(storage, conversations, publisher, events, clock, policy)
        reading = Reading(
            storage, conversations, clock, policy, alive=cluster.alive, page_bytes_max=settings.page_bytes_max
        )
        handling = Handling(reading.handlers, marking.handlers, Standing(storage).guard(group_acts.handlers))
        signals = Signals(conversations, publisher)
        sends, requests = Admission(settings.sends_in_flight_max), Admission(settings.requests_in_flight_max)
        logic = LogicServicer(sessions, sending, signals, marking, handling, storage, sends=sends, requests=requests)
        admin = Admin(
            read_secret(settings.operator_token_file),
            storage,
            sending,
            sessions,
            handling,
            group_acts,
            cluster,
            ports.peers,
            content_bytes_max=settings.content_bytes_max,
            timeout_s=settings.rpc_timeout_s,
        )
        server = await enter(
            ports.serve(settings.rpc_listen, services(logic, AdminServicer(admin), NodeServicer(life.request_stop)))
        )
        enrolment = await enter(
            Enrolment(registry, _record(settings, server, clock), timeout_s=settings.drain_deadline_s)
        )
        health.started()
        try:
            yield {
                "state": lambda: enrolment.record.state,
                "node": lambda: _shown(enrolment.record),
                "registry": lambda: {"connected": registry.connected},
                "kafka": lambda: {"degraded": publisher.degraded, "backlog_bytes": publisher.backlog_bytes},
                "slots": lambda: len(cluster.ring("logic").slots_of(settings.node)),
                "under_way": lambda: {"sends": sends.under_way, "requests": requests.under_way},
                "memory": lambda: {"groups": conversations.cached, "receipts": receipts.pending},
                "lanes": lambda: {"publish": {"depth": publisher.depth}},
                "nodes": lambda: [_shown(record) for record in cluster.membership.nodes],
                "tasks": lambda: life.tasks,
            }
        finally:
            health.set("drain", ok=False, reason="the node is leaving")


async def _prepare_topics(settings: LogicSettings, bus: Bus, life: Lifecycle) -> None:
    """Waits a while for them, since a cluster may start as a whole. After that Kafka may come when it comes."""
    done = asyncio.Event()
    topics = wanted(settings)

    async def prepare() -> None:
        while True:
            try:
                await bus.ensure_topics(topics)
                break
            except Unavailable as error:
                log.warning("topics not there yet", reason=error.message)
                await asyncio.sleep(TOPICS_RETRY_S)
        done.set()

    life.spawn(prepare(), name="topics")
    try:
        async with asyncio.timeout(TOPICS_WAIT_S):
            await done.wait()
    except TimeoutError:
        log.warning("kafka is away: the node starts without it")


def _storage(settings: LogicSettings, ports: Ports, cluster: Cluster) -> StorageClient:
    return StorageClient(
        Router(ports.peers, cluster, "storage"),
        lambda slot: cluster.ring("storage").owner(slot),
        timeout_s=settings.storage_timeout_s,
        budget_s=settings.storage_budget_s,
        batch_max=settings.storage_batch_max,
    )


def _publisher(settings: LogicSettings, ports: Ports, cluster: Cluster, direct: Direct) -> Publisher:
    return Publisher(
        ports.bus,
        cluster,
        topics_of(settings),
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
    settings: LogicSettings, ports: Ports, cluster: Cluster, storage: StorageClient, publisher: Publisher
) -> Sessions:
    return Sessions(
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
    settings: LogicSettings, ports: Ports, conversations: Conversations, publisher: Publisher, events: EventEncoder
) -> Receipts:
    return Receipts(
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


def _shown(record: NodeRecord) -> Mapping[str, object]:
    return {"name": record.name, "kind": record.kind, "boot_id": record.boot_id, "state": record.state}
