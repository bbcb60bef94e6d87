"""The wiring of an access node; reading it shows the service.

    client ─▶ transport ─▶ connection (session) ─▶ requests ─▶ lanes ─▶ logic
    Kafka  ─▶ mailbox ─▶ parcels ─▶ delivery ─▶ connections
                              └──▶ forward ─▶ other access nodes' mailboxes; by call while Kafka is away

`access_node` stands on ports, so that a simulation gives it twins; `app` gives it etcd, Kafka and gRPC.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from protos.tidings.internal.v1 import access_pb2_grpc
from services.access.cluster.drain import Farewell
from services.access.cluster.group_index import GroupIndex
from services.access.cluster.isolation import Isolation
from services.access.cluster.lifecycle import LeavingRules, Tenure
from services.access.cluster.rebalance import Rebalance
from services.access.cluster.reconciliation import Reconciling
from services.access.cluster.registration import Addresses, Registration
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connection.limits import Admission, Conduct
from services.access.debug_state import debug_state
from services.access.delivery.delivery import Delivery
from services.access.delivery.forwarder import Forwarding
from services.access.delivery.mail_router import Sorter
from services.access.delivery.mailbox import Mailbox
from services.access.logic_client import Logic
from services.access.node import Node
from services.access.placement.placement import Placement
from services.access.placement.registrar import Visiting
from services.access.placement.registrations import Guests, Host
from services.access.presence.notifier import Watching
from services.access.requests.acks import Acks
from services.access.requests.handshake import Authenticate, Opening, Terms
from services.access.requests.pongs import Heads
from services.access.requests.refresh import Refreshing
from services.access.requests.replacement import Replacing
from services.access.requests.requests import Requests
from services.access.rpc import AccessServicer
from services.access.settings import AccessSettings
from services.access.transport.addresses import AddressLimit, TrustedProxies, networks
from services.access.transport.listening import EarlyBytes, StreamLimits, listen
from services.access.transport.server_tls import ServerTls
from services.access.transport.tcp import TcpServer
from services.access.transport.websocket import WebSocketServer
from services.common.auth.token_source import Authenticator, KeySources
from services.common.bus.contract import Bus
from services.common.bus.topics import delivery_topics, prepare_topics, topic_names
from services.common.certificates import Certificates
from services.common.cluster import Cluster
from services.common.direct import Direct
from services.common.lifecycle import Lifecycle
from services.common.node import NodePorts, NodeShell, node_service
from services.common.rpc import Router, Service
from services.common.telemetry import metrics
from tidings_protocol import client_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPorts(NodePorts):
    """What an access node stands on."""

    bus: Bus
    authenticator: Authenticate


@asynccontextmanager
async def app(settings: AccessSettings, life: Lifecycle) -> AsyncIterator[None]:
    """A node as a process."""
    async with NodeShell(settings, life) as shell:
        health = shell.health
        authenticator = await shell.enter(
            Authenticator(
                settings.cluster,
                _keys(settings),
                shell.clock,
                algorithms=settings.token_algorithms,
                told=lambda problem: health.set(
                    "keys", not problem, f"the issuer's keys are old: {problem}", degraded=True
                ),
            )
        )
        life.spawn(authenticator.run(), name="token keys")
        ports = await shell.connect(AccessPorts, kafka=True, authenticator=authenticator)
        shell.show(await shell.enter(access_node(settings, life, ports)))
        yield


@asynccontextmanager
async def access_node(
    settings: AccessSettings, life: Lifecycle, ports: AccessPorts
) -> AsyncIterator[Callable[[], dict[str, Any]]]:
    """A node on its ports: ready when entered, drained when left. Gives what /debug/state shows."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        tls: ssl.SSLContext | None = None
        if settings.tls_certificate_file is not None:
            files = settings.tls_certificate_file, settings.tls_key_file
            server_tls = ServerTls(*files)
            tls = server_tls.context
            certificates = Certificates()
            certificates.watch("clients", *files, renew=server_tls.renew)
            life.spawn(certificates.run(), name="clients' certificate")
        ws_socket = listen(settings.ws_listen, send_buffer_bytes=settings.socket_send_buffer_bytes)
        stack.callback(ws_socket.close)
        tcp_socket = listen(settings.tcp_listen, send_buffer_bytes=settings.socket_send_buffer_bytes)
        stack.callback(tcp_socket.close)

        clock, registry, bus = ports.clock, ports.registry, ports.bus
        cluster = await enter(Cluster(registry))
        registration = Registration(
            registry,
            node=settings.node,
            addresses=Addresses(settings.rpc_address, settings.ops_listen, settings.ws_address, settings.tcp_address),
            weight=settings.weight,
            partitions=settings.mailbox_partitions,
            since_ms=clock.wall_ms(),
        )
        logic = Logic(
            Router(ports.peers, cluster, "logic"), timeout_s=settings.rpc_timeout_s, budget_s=settings.rpc_budget_s
        )

        hub: Hub[Connection] = Hub()
        guests = Guests()
        policy = settings.session_policy()
        conduct = Conduct(policy.limits)
        admission = Admission(per_s=settings.connections_per_s, handshakes_max=settings.handshakes_max)
        placement = Placement(
            settings.placement,
            me=lambda: registration.me,
            ring=lambda: cluster.ring("access"),
            node=cluster.node,
        )

        def wanted(user: str) -> Host | None:
            return placement.elsewhere(user) if user in hub else None

        visiting = await enter(
            Visiting(
                ports.peers,
                me=lambda: registration.me,
                wanted=wanted,
                node=cluster.node,
                capacity=settings.lane_capacity,
                timeout_s=settings.rpc_timeout_s,
            )
        )
        watching = await enter(Watching(logic, clock, watched_max=settings.watched_max))
        acks = await enter(Acks(logic, clock, flush_s=settings.ack_flush_ms / 1000))
        heads = await enter(Heads(logic, hub, clock, capacity=settings.lane_capacity))
        index = await enter(GroupIndex(hub, heads, every_s=settings.group_check_s))
        node = await enter(
            Node(
                policy,
                clock,
                hub,
                admission,
                conduct,
                logic,
                connections_max=settings.connections_max,
            )
        )
        requests = await enter(
            Requests(
                logic,
                heads,
                acks,
                watching,
                clock,
                content_bytes_max=settings.content_bytes_max,
                send_lanes=settings.send_lanes,
                request_lanes=settings.request_lanes,
                capacity=settings.lane_capacity,
                send_answer_s=settings.send_answer_ms / 1000,
                send_batch_max=settings.batch_max,
                request_batch_max=settings.request_batch_max,
            )
        )
        replacing = await enter(
            Replacing(ports.peers, hub, me=lambda: registration.me, node=cluster.node, timeout_s=settings.rpc_timeout_s)
        )
        opening = await enter(
            Opening(
                ports.authenticator,
                logic,
                visiting,
                replacing,
                hub,
                conduct,
                clock,
                _terms(settings),
                me=lambda: registration.me,
                moved=lambda connection, user, avoid: placement.address_for(user, connection.transport.name, avoid),
                capacity=settings.handshakes_max,
                batch_max=settings.batch_max,
            )
        )
        refreshing = await enter(Refreshing(ports.authenticator, clock, capacity=settings.lane_capacity))
        node.attach(opening=opening, requests=requests, refreshing=refreshing, watching=watching, visiting=visiting)

        topics = topic_names(settings)
        await prepare_topics(bus, delivery_topics(settings), life)
        direct = await enter(Direct(ports.peers, cluster.node))
        forwarding = await enter(Forwarding(bus, direct, topic=topics.deliver, node=cluster.node))
        delivery = Delivery(hub, clock, watching.sessions_changed)
        farewell = Farewell(placement)
        rebalance: Rebalance | None = None
        mailbox = await enter(
            Mailbox(
                bus,
                delivery,
                forwarding,
                mailbox_topic=topics.deliver,
                broadcast_topic=topics.broadcast,
                broadcast_partitions=settings.broadcast_partitions,
                sorter=lambda: Sorter(registration.me, placement.owner_of, guests),
                on_gap=lambda: rebalance.check_all() if rebalance is not None else None,
                on_hearing=registration.set_deaf,
            )
        )
        tenure = Tenure(
            registry,
            registration,
            mailbox,
            node,
            visiting,
            farewell,
            ports.health,
            clock,
            LeavingRules(settings.drain_pace_per_s, settings.drain_deadline_s),
        )
        rebalance = await enter(
            Rebalance(
                cluster,
                hub,
                placement,
                visiting,
                guests,
                heads,
                index,
                watching,
                moves_per_s=settings.moves_per_s,
                head_check_delay_s=settings.head_check_delay_s,
                staying=lambda: tenure.staying,
            )
        )
        servicers: list[Service] = [
            (access_pb2_grpc.add_AccessServicer_to_server, AccessServicer(hub, guests, mailbox.take)),
            node_service(life.request_stop),
        ]
        await enter(ports.serve(settings.rpc_listen, servicers))
        await tenure.come()
        limits = StreamLimits(settings.frame_bytes_max, settings.slow_consumer_bytes, settings.handshake_s)
        trusted = TrustedProxies(networks(settings.trusted_proxies))
        early = EarlyBytes(settings.handshake_bytes_max)
        door = FrontDoor(node, placement, AddressLimit(trusted, settings.address_connections_per_s), early)
        await enter(WebSocketServer(node, door, node.traffic[0], limits, ws_socket, tls, trusted))
        await enter(TcpServer(node, door, node.traffic[1], limits, tcp_socket, tls, trusted))
        life.spawn(tenure.stay(rebalance), name="tenure")
        life.spawn(visiting.run(), name="visits")
        life.spawn(replacing.run(), name="replaced sessions")
        reconciling = Reconciling(
            logic,
            node.connections,
            me=lambda: registration.me,
            close=node.close,
            interval_s=settings.session_check_s,
        )
        life.spawn(reconciling.run(), name="reconciling")
        isolation = Isolation(
            registry,
            ports.peers,
            clock,
            ports.health,
            me=lambda: registration.me,
            membership=lambda: cluster.membership,
            patience_s=settings.lease_ttl_s / 2,
            send_away=tenure.send_away,
            take_back=tenure.take_back,
        )
        life.spawn(isolation.run(), name="isolation")
        life.spawn(tenure.watch_health(bus, lambda: bool(cluster.ring("logic").members)), name="health")
        await tenure.open_doors()
        try:
            yield lambda: debug_state(
                node, registration, cluster, visiting, guests, mailbox, rebalance, requests, watching
            )
        finally:
            await tenure.leave(asked_per_s=float(life.pace_per_s))


class FrontDoor:
    """The Door of the transports."""

    def __init__(self, node: Node, placement: Placement, addresses: AddressLimit, early: EarlyBytes) -> None:
        self._node = node
        self._addresses = addresses
        self.greet = node.greet
        self.dismiss = node.dismiss
        self.route = placement.route
        self.hold = early.hold
        self.release = early.release

    def ask(self, address: str) -> float:
        wait_s = self._addresses.ask(address, self._node.now())
        if wait_s:
            metrics.CONNECTIONS_REFUSED.labels("address").inc()
            return wait_s
        return self._node.ask()


def _keys(settings: AccessSettings) -> KeySources:
    return KeySources(
        secret_file=settings.token_secret_file,
        public_key_file=settings.token_public_key_file,
        jwks_file=settings.token_jwks_file,
        jwks_url=settings.token_jwks_url,
    )


def _terms(settings: AccessSettings) -> Terms:
    return Terms(
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
        refused_clients=settings.refused_clients,
    )
