"""The wiring of an access node: how its parts are put together, room by room; reading it shows the service.

    client ─▶ transport ─▶ connection (session) ─▶ requests ─▶ lanes ─▶ logic
    Kafka  ─▶ mailbox ─▶ mail router ─▶ delivery ─▶ connections
                              └──▶ forwarder ─▶ other access nodes' mailboxes; by call while Kafka is away

Every part stands on ports, so that a simulation gives the node twins. The rooms are wired low to high, and each gives a
value that the later ones take what they need from. What a room has to tell one that comes later it puts down where that
one looks (`HeadChecks`).

Does not know: how clients get in (listeners.py), in which order a node starts and ends (app.py).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from services.access.cluster.drain import Farewell
from services.access.cluster.group_index import GroupIndex
from services.access.cluster.head_checks import HeadChecks
from services.access.cluster.lifecycle import LeavingRules, NodeMembership
from services.access.cluster.rebalance import Rebalance
from services.access.cluster.registration import Addresses, Registration
from services.access.connection.abuse_tracker import AbuseTracker
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connections import Connections
from services.access.delivery.delivery import Delivery
from services.access.delivery.forwarder import Forwarder
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.delivery.mail_router import MailRouter
from services.access.delivery.mailbox import Mailbox
from services.access.delivery.parcel_delivery import ParcelDelivery
from services.access.handshake.handshake import Handshake
from services.access.handshake.hello_check import Authenticate, HelloCheck
from services.access.handshake.replacement import SessionReplacement
from services.access.logic_client import LogicClient
from services.access.options import handshake_options, request_options, session_policy
from services.access.placement.placement import Placement
from services.access.placement.visit_calls import VisitCalls
from services.access.presence.watching import Watching
from services.access.requests.acks import Acks
from services.access.requests.pongs import HeartbeatReplies
from services.access.requests.refresh import TokenRefresh
from services.access.requests.requests import Requests
from services.access.session.session import SessionPolicy
from services.access.session_closer import SessionCloser
from services.access.settings import AccessSettings
from services.common.bus.contract import Bus
from services.common.bus.topics import delivery_topics, prepare_topics, topic_names
from services.common.cluster import Cluster
from services.common.lifecycle import Lifecycle
from services.common.node import NodePorts
from services.common.parcel_calls import ParcelCalls
from services.common.registry.contract import NodeIncarnation
from services.common.rpc import Router

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPorts(NodePorts):
    """What an access node stands on."""

    bus: Bus
    authenticator: Authenticate


@dataclass(frozen=True, slots=True)
class Ground:
    """What every room is built on; what was entered on the `stack` is left in reverse order."""

    settings: AccessSettings
    life: Lifecycle
    ports: AccessPorts
    stack: AsyncExitStack

    async def enter(self, thing: AbstractAsyncContextManager[Thing]) -> Thing:
        """Enters it until the node ends."""
        return await self.stack.enter_async_context(thing)


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms of a node, wired to each other."""

    node: Node
    owners: Owners
    clients: Clients
    mailbox: Mailbox
    membership: Membership


async def wire(ground: Ground) -> Rooms:
    """Puts the rooms together and enters what lives in them."""
    node = await _node(ground)
    owners = await _owners(ground, node)
    clients = await _clients(ground, node, owners)
    mailbox = await _mail(ground, node, owners, clients)
    return Rooms(node, owners, clients, mailbox, await _membership(ground, node, owners, clients, mailbox))


@dataclass(frozen=True, slots=True)
class Node:
    """Who this node is, who else there is, and who is connected."""

    cluster: Cluster
    registration: Registration
    logic: LogicClient
    policy: SessionPolicy
    hub: Hub[Connection]
    abuse: AbuseTracker
    connections: Connections
    checks: HeadChecks


async def _node(ground: Ground) -> Node:
    settings, ports = ground.settings, ground.ports
    cluster = await ground.enter(Cluster(ports.registry))
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
    policy = session_policy(settings)
    hub: Hub[Connection] = Hub()
    abuse = AbuseTracker(policy.limits)
    return Node(cluster, registration, logic, policy, hub, abuse, Connections(hub, abuse, ports.clock), HeadChecks())


@dataclass(frozen=True, slots=True)
class Owners:
    """Where users belong, and who forwards what for whom."""

    placement: Placement
    forwarding: ForwardingTable
    visit_calls: VisitCalls


async def _owners(ground: Ground, node: Node) -> Owners:
    settings = ground.settings
    placement = Placement(
        settings.placement,
        me=node.registration.me,
        ring=partial(node.cluster.ring, "access"),
        node=node.cluster.node,
    )

    def wanted(user: str) -> NodeIncarnation | None:
        return placement.elsewhere(user) if user in node.hub else None

    visit_calls = VisitCalls(
        ground.ports.peers,
        me=node.registration.me,
        wanted=wanted,
        node=node.cluster.node,
        capacity=settings.lane_capacity,
        timeout_s=settings.rpc_timeout_s,
        on_late=node.checks.check,
    )
    return Owners(placement, ForwardingTable(), await ground.enter(visit_calls))


@dataclass(frozen=True, slots=True)
class Clients:
    """The way of a client: hello, requests, end."""

    watching: Watching
    heads: HeartbeatReplies
    index: GroupIndex
    closer: SessionCloser
    replacement: SessionReplacement
    handshake: Handshake
    requests: Requests


async def _clients(ground: Ground, node: Node, owners: Owners) -> Clients:
    settings, ports, enter = ground.settings, ground.ports, ground.enter
    clock, logic, hub = ports.clock, node.logic, node.hub
    watching = await enter(Watching(logic, clock, watched_max=settings.watched_max))
    acks = await enter(Acks(logic, clock, flush_s=settings.ack_flush_ms / 1000))
    heads = await enter(HeartbeatReplies(logic, hub, clock, capacity=settings.lane_capacity))
    index = await enter(GroupIndex(hub, heads, every_s=settings.group_check_s))
    closer = await enter(SessionCloser(logic, hub, watching, owners.visit_calls))
    await enter(node.connections)
    refresh = await enter(TokenRefresh(ports.authenticator, clock, capacity=settings.lane_capacity))
    requests = await enter(Requests(logic, heads, acks, watching, refresh, clock, request_options(settings)))
    me = node.registration.me
    replacement = await enter(
        SessionReplacement(ports.peers, hub, me=me, node=node.cluster.node, timeout_s=settings.rpc_timeout_s)
    )
    hellos = HelloCheck(
        ports.authenticator, node.abuse, clock, owners.placement, refused_clients=settings.refused_clients
    )
    options = handshake_options(settings)
    handshake = await enter(Handshake(hellos, logic, owners.visit_calls, replacement, hub, clock, options, me=me))
    return Clients(watching, heads, index, closer, replacement, handshake, requests)


async def _mail(ground: Ground, node: Node, owners: Owners, clients: Clients) -> Mailbox:
    """The way of a push."""
    settings, ports, enter, me = ground.settings, ground.ports, ground.enter, node.registration.me
    topics = topic_names(settings)
    await prepare_topics(ports.bus, delivery_topics(settings), ground.life)
    calls = await enter(ParcelCalls(ports.peers, node.cluster.node))
    forwarder = await enter(Forwarder(ports.bus, calls, topic=topics.deliver, node=node.cluster.node))

    def router() -> MailRouter:
        return MailRouter(me(), owners.placement.owner_of, owners.placement.owns_all, owners.forwarding)

    watching = clients.watching

    def lost() -> None:
        node.checks.check_all()
        watching.check_all()

    delivery = Delivery(
        node.hub,
        ports.clock,
        on_sessions=watching.presence.sessions_changed,
        on_profiles=watching.profiles.changed,
        on_blocks=watching.presence.blocks_changed,
    )
    return await enter(
        Mailbox(
            ports.bus,
            topics,
            ParcelDelivery(delivery, forwarder, router),
            on_gap=lost,
            on_hearing=node.registration.set_deaf,
        )
    )


@dataclass(frozen=True, slots=True)
class Membership:
    """What this node does when the cluster changes, itself included."""

    own: NodeMembership
    rebalance: Rebalance


async def _membership(ground: Ground, node: Node, owners: Owners, clients: Clients, mailbox: Mailbox) -> Membership:
    settings, ports = ground.settings, ground.ports
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
        clients.watching.presence,
        node.checks,
        moves_per_s=settings.moves_per_s,
        head_check_delay_s=settings.head_check_delay_s,
        staying=own.is_staying,
    )
    return Membership(own, await ground.enter(rebalance))
