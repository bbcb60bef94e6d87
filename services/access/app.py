"""An access node as a process, and as a node on its ports: what is started in which order, and ended in reverse.

    sockets ─▶ rooms (wiring.py) ─▶ gRPC ─▶ registration, mailbox ─▶ listeners (listeners.py) ─▶ in the ring, last

`access_node` stands on ports, so that a simulation gives it twins; `app` gives it etcd, Kafka and gRPC.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from protos.tidings.internal.v1 import access_pb2_grpc
from services.access.admission.admission import FrontDoor
from services.access.cluster.isolation import Isolation
from services.access.cluster.lifecycle import watch_health
from services.access.cluster.reconciliation import Reconciling
from services.access.debug_state import debug_state
from services.access.listeners import bind_sockets, open_listeners
from services.access.options import key_sources
from services.access.rpc import AccessServicer
from services.access.settings import AccessSettings
from services.access.wiring import AccessPorts, Ground, Rooms, wire
from services.common.auth.token_source import Authenticator
from services.common.lifecycle import Lifecycle
from services.common.node import NodeShell, node_service
from services.common.rpc import Service
from services.common.telemetry.health import Health

Debug = Callable[[], dict[str, Any]]


@asynccontextmanager
async def app(settings: AccessSettings, life: Lifecycle) -> AsyncIterator[None]:
    """A node as a process."""
    async with NodeShell(settings, life) as shell:
        authenticator = await shell.enter(
            Authenticator(
                settings.cluster,
                key_sources(settings),
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


@asynccontextmanager
async def access_node(settings: AccessSettings, life: Lifecycle, ports: AccessPorts) -> AsyncIterator[Debug]:
    """A node on its ports: ready when entered, drained when left. Gives what /debug/state shows."""
    async with AsyncExitStack() as stack:
        ground = Ground(settings, life, ports, stack)
        sockets = bind_sockets(ground)
        rooms = await wire(ground)
        own = rooms.membership.own
        await ground.enter(ports.serve(settings.rpc_listen, _services(rooms, life)))
        await own.join()
        door = await open_listeners(ground, rooms, sockets)
        _spawn(ground, rooms)
        await own.open_doors()
        try:
            yield partial(_debug_state, rooms, door)
        finally:
            await own.drain(asked_per_s=float(life.pace_per_s))


def _services(rooms: Rooms, life: Lifecycle) -> list[Service]:
    """What other nodes and the operator may call."""
    servicer = AccessServicer(rooms.node.hub, rooms.owners.forwarding, rooms.mailbox.take)
    return [(access_pb2_grpc.add_AccessServicer_to_server, servicer), node_service(life.request_stop)]


def _spawn(ground: Ground, rooms: Rooms) -> None:
    """What goes on for as long as the node lives."""
    settings, ports, spawn = ground.settings, ground.ports, ground.life.spawn
    node, own = rooms.node, rooms.membership.own
    reconciling = Reconciling(
        node.logic,
        node.connections,
        me=node.registration.me,
        close=rooms.clients.closer.close,
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
        evacuate=own.evacuate,
        readmit=own.readmit,
    )
    spawn(own.keep_joined(), name="membership")
    spawn(rooms.owners.visit_calls.run(), name="visits")
    spawn(rooms.clients.replacement.run(), name="replaced sessions")
    spawn(reconciling.run(), name="reconciling")
    spawn(isolation.run(), name="isolation")
    spawn(watch_health(ports.registry, ports.bus, node.cluster, ports.health), name="health")


def _debug_state(rooms: Rooms, door: FrontDoor) -> dict[str, Any]:
    node, owners, clients = rooms.node, rooms.owners, rooms.clients
    return debug_state(
        node.connections,
        node.hub,
        node.registration,
        node.cluster,
        owners.visit_calls,
        owners.forwarding,
        rooms.mailbox,
        rooms.membership.rebalance,
        (*clients.requests.lanes, clients.closer.lanes),
        clients.watching,
        door.under_way,
    )
