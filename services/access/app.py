"""The wiring of an access node; reading it shows the service.

    client ─▶ transport ─▶ connection (session) ─▶ requests ─▶ lanes ─▶ logic
    Kafka  ─▶ mailbox ─▶ mail router ─▶ delivery ─▶ connections
                              └──▶ forwarder ─▶ other access nodes' mailboxes; by call while Kafka is away

`access_node` stands on ports, so that a simulation gives it twins; `app` gives it etcd, Kafka and gRPC. It is built
room by room, low to high, and each room is a value that the later ones take what they need from. What a room has to
tell one that comes later it puts down where that one looks (`HeadChecks`).
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from protos.tidings.internal.v1 import access_pb2_grpc
from services.access.cluster.drain import Farewell
from services.access.cluster.group_index import GroupIndex
from services.access.cluster.head_checks import HeadChecks
from services.access.cluster.isolation import Isolation
from services.access.cluster.lifecycle import LeavingRules, NodeMembership, watch_health
from services.access.cluster.rebalance import Rebalance
from services.access.cluster.reconciliation import Reconciling
from services.access.cluster.registration import Addresses, Registration
from services.access.connection.abuse import AbuseTracker
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connection.traffic import Traffic
from services.access.connections import ConnectionMetrics, Connections
from services.access.debug_state import debug_state
from services.access.delivery.delivery import Delivery
from services.access.delivery.forwarder import Forwarder
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.delivery.mail_router import MailRouter
from services.access.delivery.mailbox import Mailbox
from services.access.logic_client import LogicClient
from services.access.placement.placement import Placement
from services.access.placement.visit_calls import VisitCalls
from services.access.presence.notifier import PresenceNotifier
from services.access.requests.acks import Acks
from services.access.requests.handshake import Handshake, HandshakeOptions
from services.access.requests.hello_check import Authenticate, HelloCheck
from services.access.requests.pongs import HeartbeatReplies
from services.access.requests.refresh import TokenRefresh
from services.access.requests.replacement import SessionReplacement
from services.access.requests.requests import RequestOptions, Requests
from services.access.rpc import AccessServicer
from services.access.session.heartbeat import TimingWheel
from services.access.session.session import SessionPolicy
from services.access.session_closer import SessionCloser
from services.access.settings import AccessSettings
from services.access.transport.addresses import AddressLimit, TrustedProxies, networks
from services.access.transport.admission import Admission, EarlyBytes, FrontDoor
from services.access.transport.listening import StreamLimits, listen
from services.access.transport.server_tls import ServerTls
from services.access.transport.tcp import TcpServer
from services.access.transport.websocket import WebSocketServer
from services.common.auth.token_source import Authenticator, KeySources
from services.common.bus.contract import Bus
from services.common.bus.topics import delivery_topics, prepare_topics, topic_names
from services.common.certificates import Certificates
from services.common.cluster import Cluster
from services.common.lifecycle import Lifecycle
from services.common.node import NodePorts, NodeShell, node_service
from services.common.parcel_calls import ParcelCalls
from services.common.registry.contract import NodeIncarnation
from services.common.rpc import Router, Service
from services.common.telemetry.health import Health
from tidings_protocol import client_pb2

Debug = Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPorts(NodePorts):
    """What an access node stands on."""

    bus: Bus
    authenticator: Authenticate


# ---- the process


@asynccontextmanager
async def app(settings: AccessSettings, life: Lifecycle) -> AsyncIterator[None]:
    """A node as a process."""
    async with NodeShell(settings, life) as shell:
        authenticator = await shell.enter(
            Authenticator(
                settings.cluster,
                _keys(settings),
                shell.clock,
                algorithms=settings.token_algorithms,
                told=partial(_tell_old_keys, shell.health),
            )
        )
        life.spawn(authenticator.run(), name="token keys")
        ports = await shell.connect(AccessPorts, kafka=True, authenticator=authenticator)
        shell.show(await shell.enter(access_node(settings, life, ports)))
        yield


def _tell_old_keys(health: Health, problem: str) -> None:
    health.set("keys", not problem, f"the issuer's keys are old: {problem}", degraded=True)


# ---- the node


@asynccontextmanager
async def access_node(settings: AccessSettings, life: Lifecycle, ports: AccessPorts) -> AsyncIterator[Debug]:
    """A node on its ports: ready when entered, drained when left. Gives what /debug/state shows."""
    async with AsyncExitStack() as stack:
        streams = _listen(settings, life, stack)
        node = await _node(settings, ports, stack)
        owners = await _owners(settings, ports, node, stack)
        clients = await _clients(settings, ports, node, owners, stack)
        mailbox = await _mail(settings, life, ports, node, owners, clients, stack)
        membership = await _membership(settings, ports, node, owners, clients, mailbox, stack)
        servicers: list[Service] = [
            (
                access_pb2_grpc.add_AccessServicer_to_server,
                AccessServicer(node.hub, owners.forwarding, mailbox.take),
            ),
            node_service(life.request_stop),
        ]
        await stack.enter_async_context(ports.serve(settings.rpc_listen, servicers))
        await membership.own.join()
        door = await _open_transports(settings, life, ports, node, owners, clients, streams, stack)
        _spawn(settings, life, ports, node, owners, clients, membership)
        await membership.own.open_doors()
        try:
            yield partial(
                debug_state,
                node.connections,
                node.hub,
                node.registration,
                node.cluster,
                owners.visit_calls,
                owners.forwarding,
                mailbox,
                membership.rebalance,
                (*clients.requests.lanes, clients.closer.lanes),
                clients.presence,
                door.under_way,
            )
        finally:
            await membership.own.drain(asked_per_s=float(life.pace_per_s))


@dataclass(frozen=True, slots=True)
class _Streams:
    """The sockets that clients come in by, and TLS for them."""

    ws: socket.socket
    tcp: socket.socket
    tls: ssl.SSLContext | None


def _listen(settings: AccessSettings, life: Lifecycle, stack: AsyncExitStack) -> _Streams:
    """First of all: a port that is taken ends the node before anybody knows of it."""
    tls: ssl.SSLContext | None = None
    if settings.tls_certificate_file is not None:
        files = settings.tls_certificate_file, settings.tls_key_file
        server_tls = ServerTls(*files)
        tls = server_tls.context
        certificates = Certificates()
        certificates.watch("clients", *files, renew=server_tls.renew)
        life.spawn(certificates.run(), name="clients' certificate")
    ws = listen(settings.ws_listen, send_buffer_bytes=settings.socket_send_buffer_bytes)
    stack.callback(ws.close)
    tcp = listen(settings.tcp_listen, send_buffer_bytes=settings.socket_send_buffer_bytes)
    stack.callback(tcp.close)
    return _Streams(ws, tcp, tls)


@dataclass(frozen=True, slots=True)
class _Node:
    """Who this node is, who else there is, and who is connected."""

    cluster: Cluster
    registration: Registration
    logic: LogicClient
    policy: SessionPolicy
    hub: Hub[Connection]
    abuse: AbuseTracker
    connections: Connections
    checks: HeadChecks


async def _node(settings: AccessSettings, ports: AccessPorts, stack: AsyncExitStack) -> _Node:
    cluster = await stack.enter_async_context(Cluster(ports.registry))
    registration = Registration(
        ports.registry,
        node=settings.node,
        addresses=Addresses(settings.rpc_address, settings.ops_listen, settings.ws_address, settings.tcp_address),
        weight=settings.weight,
        partitions=settings.mailbox_partitions,
        since_ms=ports.clock.wall_ms(),
    )
    router = Router(ports.peers, cluster, "logic")
    logic = LogicClient(router, timeout_s=settings.rpc_timeout_s, budget_s=settings.rpc_budget_s)
    policy = settings.session_policy()
    hub: Hub[Connection] = Hub()
    abuse = AbuseTracker(policy.limits)
    return _Node(cluster, registration, logic, policy, hub, abuse, Connections(hub, abuse, ports.clock), HeadChecks())


@dataclass(frozen=True, slots=True)
class _Owners:
    """Where users belong, and who forwards what for whom."""

    placement: Placement
    forwarding: ForwardingTable
    visit_calls: VisitCalls


async def _owners(settings: AccessSettings, ports: AccessPorts, node: _Node, stack: AsyncExitStack) -> _Owners:
    placement = Placement(
        settings.placement,
        me=node.registration.me,
        ring=partial(node.cluster.ring, "access"),
        node=node.cluster.node,
    )

    def wanted(user: str) -> NodeIncarnation | None:
        return placement.elsewhere(user) if user in node.hub else None

    visit_calls = VisitCalls(
        ports.peers,
        me=node.registration.me,
        wanted=wanted,
        node=node.cluster.node,
        capacity=settings.lane_capacity,
        timeout_s=settings.rpc_timeout_s,
        on_late=node.checks.check,
    )
    return _Owners(placement, ForwardingTable(), await stack.enter_async_context(visit_calls))


@dataclass(frozen=True, slots=True)
class _Clients:
    """The way of a client: hello, requests, end."""

    presence: PresenceNotifier
    heads: HeartbeatReplies
    index: GroupIndex
    closer: SessionCloser
    replacement: SessionReplacement
    handshake: Handshake
    requests: Requests


async def _clients(
    settings: AccessSettings, ports: AccessPorts, node: _Node, owners: _Owners, stack: AsyncExitStack
) -> _Clients:
    enter, clock, logic, hub = stack.enter_async_context, ports.clock, node.logic, node.hub
    presence = await enter(PresenceNotifier(logic, clock, watched_max=settings.watched_max))
    acks = await enter(Acks(logic, clock, flush_s=settings.ack_flush_ms / 1000))
    heads = await enter(HeartbeatReplies(logic, hub, clock, capacity=settings.lane_capacity))
    index = await enter(GroupIndex(hub, heads, every_s=settings.group_check_s))
    closer = await enter(SessionCloser(logic, hub, presence, owners.visit_calls))
    await enter(node.connections)
    refresh = await enter(TokenRefresh(ports.authenticator, clock, capacity=settings.lane_capacity))
    requests = await enter(
        Requests(
            logic,
            heads,
            acks,
            presence,
            refresh,
            clock,
            _request_options(settings),
        )
    )
    me = node.registration.me
    replacement = await enter(
        SessionReplacement(ports.peers, hub, me=me, node=node.cluster.node, timeout_s=settings.rpc_timeout_s)
    )
    handshake = await enter(
        Handshake(
            HelloCheck(
                ports.authenticator, node.abuse, clock, owners.placement, refused_clients=settings.refused_clients
            ),
            logic,
            owners.visit_calls,
            replacement,
            hub,
            clock,
            _handshake_options(settings),
            me=me,
        )
    )
    return _Clients(presence, heads, index, closer, replacement, handshake, requests)


async def _mail(
    settings: AccessSettings,
    life: Lifecycle,
    ports: AccessPorts,
    node: _Node,
    owners: _Owners,
    clients: _Clients,
    stack: AsyncExitStack,
) -> Mailbox:
    """The way of a push."""
    enter, me = stack.enter_async_context, node.registration.me
    topics = topic_names(settings)
    await prepare_topics(ports.bus, delivery_topics(settings), life)
    calls = await enter(ParcelCalls(ports.peers, node.cluster.node))
    forwarder = await enter(Forwarder(ports.bus, calls, topic=topics.deliver, node=node.cluster.node))

    def router() -> MailRouter:
        return MailRouter(me(), owners.placement.owner_of, owners.forwarding)

    return await enter(
        Mailbox(
            ports.bus,
            Delivery(node.hub, ports.clock, clients.presence.sessions_changed),
            forwarder,
            mailbox_topic=topics.deliver,
            broadcast_topic=topics.broadcast,
            broadcast_partitions=settings.broadcast_partitions,
            router=router,
            on_gap=node.checks.check_all,
            on_hearing=node.registration.set_deaf,
        )
    )


@dataclass(frozen=True, slots=True)
class _Membership:
    """What this node does when the cluster changes, itself included."""

    own: NodeMembership
    rebalance: Rebalance


async def _membership(
    settings: AccessSettings,
    ports: AccessPorts,
    node: _Node,
    owners: _Owners,
    clients: _Clients,
    mailbox: Mailbox,
    stack: AsyncExitStack,
) -> _Membership:
    own = NodeMembership(
        ports.registry,
        node.registration,
        mailbox,
        node.connections,
        owners.visit_calls,
        Farewell(owners.placement),
        node.checks,
        ports.health,
        ports.clock,
        LeavingRules(settings.drain_pace_per_s, settings.drain_deadline_s),
    )
    rebalance = Rebalance(
        node.cluster,
        node.hub,
        owners.placement,
        owners.visit_calls,
        owners.forwarding,
        clients.heads,
        clients.index,
        clients.presence,
        node.checks,
        moves_per_s=settings.moves_per_s,
        head_check_delay_s=settings.head_check_delay_s,
        staying=own.is_staying,
    )
    return _Membership(own, await stack.enter_async_context(rebalance))


@dataclass(frozen=True, slots=True)
class _Rooms:
    """The NodePort of every connection."""

    policy: SessionPolicy
    now: Callable[[], float]
    wheel: TimingWheel[Connection]
    connections: Connections
    handshake: Handshake
    requests: Requests
    abuse: AbuseTracker
    closer: SessionCloser


async def _open_transports(
    settings: AccessSettings,
    life: Lifecycle,
    ports: AccessPorts,
    node: _Node,
    owners: _Owners,
    clients: _Clients,
    streams: _Streams,
    stack: AsyncExitStack,
) -> FrontDoor:
    trusted = TrustedProxies(networks(settings.trusted_proxies))
    door = FrontDoor(
        node.connections,
        Admission(per_s=settings.connections_per_s, handshakes_max=settings.handshakes_max),
        AddressLimit(trusted, settings.address_connections_per_s),
        EarlyBytes(settings.handshake_bytes_max),
        ports.clock,
        connections_max=settings.connections_max,
        route=owners.placement.route,
    )
    rooms = _Rooms(
        node.policy,
        ports.clock.now_s,
        node.connections.wheel,
        node.connections,
        clients.handshake,
        clients.requests,
        node.abuse,
        clients.closer,
    )
    limits = StreamLimits(settings.frame_bytes_max, settings.slow_consumer_bytes, settings.handshake_s)
    ws, tcp = Traffic("ws"), Traffic("tcp")
    await stack.enter_async_context(WebSocketServer(rooms, door, ws, limits, streams.ws, streams.tls, trusted))
    await stack.enter_async_context(TcpServer(rooms, door, tcp, limits, streams.tcp, streams.tls, trusted))
    shown = ConnectionMetrics(node.connections, node.hub, node.abuse, ports.clock, (ws, tcp), door.under_way)
    life.spawn(shown.run(), name="metrics of connections")
    return door


def _spawn(
    settings: AccessSettings,
    life: Lifecycle,
    ports: AccessPorts,
    node: _Node,
    owners: _Owners,
    clients: _Clients,
    membership: _Membership,
) -> None:
    """What goes on for as long as the node lives."""
    reconciling = Reconciling(
        node.logic,
        node.connections,
        me=node.registration.me,
        close=clients.closer.close,
        interval_s=settings.session_check_s,
    )
    isolation = Isolation(
        ports.registry,
        node.cluster,
        ports.peers,
        ports.clock,
        ports.health,
        me=node.registration.me,
        patience_s=settings.lease_ttl_s / 2,
        evacuate=membership.own.evacuate,
        readmit=membership.own.readmit,
    )
    life.spawn(membership.own.keep_joined(), name="membership")
    life.spawn(owners.visit_calls.run(), name="visits")
    life.spawn(clients.replacement.run(), name="replaced sessions")
    life.spawn(reconciling.run(), name="reconciling")
    life.spawn(isolation.run(), name="isolation")
    life.spawn(watch_health(ports.registry, ports.bus, node.cluster, ports.health), name="health")


# ---- values from settings


def _keys(settings: AccessSettings) -> KeySources:
    return KeySources(
        secret_file=settings.token_secret_file,
        public_key_file=settings.token_public_key_file,
        jwks_file=settings.token_jwks_file,
        jwks_url=settings.token_jwks_url,
    )


def _request_options(settings: AccessSettings) -> RequestOptions:
    return RequestOptions(
        content_bytes_max=settings.content_bytes_max,
        send_lanes=settings.send_lanes,
        request_lanes=settings.request_lanes,
        capacity=settings.lane_capacity,
        send_answer_s=settings.send_answer_ms / 1000,
        send_batch_max=settings.batch_max,
        request_batch_max=settings.request_batch_max,
    )


def _handshake_options(settings: AccessSettings) -> HandshakeOptions:
    return HandshakeOptions(
        heartbeat_s=settings.session_policy().heartbeat.interval_of,
        idle_heartbeat_s=settings.idle_heartbeat_s,
        limits=client_pb2.Limits(
            frame_bytes_max=settings.frame_bytes_max,
            content_bytes_max=settings.content_bytes_max,
            # 0 would say that there is no limit.
            sends_per_s=round(settings.sends_per_s) or math.ceil(settings.sends_per_s),
        ),
        backoff=client_pb2.Backoff(
            base_ms=settings.backoff_base_ms, max_ms=settings.backoff_max_ms, factor=settings.backoff_factor
        ),
        capacity=settings.handshakes_max,
        batch_max=settings.batch_max,
    )
