"""The wiring of a storage node; reading it shows the service.

    ops ─▶ MongoDB, schema ─▶ registry, cluster ─▶ storage (node.py) ─▶ gRPC ─▶ registration, last

`storage_node` stands on ports, so that a simulation gives it twins; `app` gives it etcd, MongoDB and gRPC.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from services.common.clock import Clock
from services.common.cluster import Cluster
from services.common.gatherer import RETRY_S
from services.common.lifecycle import Lifecycle
from services.common.node import DebugState, NodePorts, NodeShell, registered, shown
from services.common.registry.contract import Membership
from services.common.telemetry import logs, metrics
from services.common.telemetry.health import Health
from services.storage.limits import Limits
from services.storage.node import Storage, open_storage
from services.storage.owners.ring_change import KIND, RingChange
from services.storage.owners.rpc_peers import RpcStoragePeers
from services.storage.repository.contract import Repository
from services.storage.rpc import services
from services.storage.settings import StorageSettings
from services.storage.upkeep.retention import RetentionPolicy
from tidings_protocol.errors import Unavailable

# How soon a thread that waits for the interpreter gets it. Measured with an event loop that is busy for 3 ms at a time:
# a command to MongoDB, which the driver makes in a thread, takes 8 ms with this and 500 ms with Python's default of 5
# ms.
SWITCH_INTERVAL_S = 0.0005
HEALTH_INTERVAL_S = 1.0
AWAY = "MongoDB does not answer: check that it is at TIDINGS_MONGODB_URI, and that its replica set has a primary"
# The share of the time for a batch in which another node has to append its part: then there is time left to do it in
# that node's place.
PEER_SHARE = 3

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoragePorts(NodePorts):
    """What a storage node stands on. Whoever made the ports has entered them, and leaves them."""

    repository: Repository


@asynccontextmanager
async def app(settings: StorageSettings, life: Lifecycle) -> AsyncIterator[None]:
    """A storage node as a process, on etcd, MongoDB and gRPC."""
    # The driver makes each command in a thread of its own pool, whose size it reads when it is imported.
    os.environ.setdefault("MOTOR_MAX_WORKERS", str(settings.mongodb_connections_max))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    async with NodeShell(settings, life) as shell:
        repository = await shell.enter(_mongo(settings, life, shell.clock, shell.health))
        ports = await shell.connect(StoragePorts, kafka=False, repository=repository)
        shell.show(await shell.enter(storage_node(settings, life, ports)))
        yield


@asynccontextmanager
async def storage_node(settings: StorageSettings, life: Lifecycle, ports: StoragePorts) -> AsyncIterator[DebugState]:
    """A node on its ports: ready when entered, drained when left. Gives what /debug/state shows."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        cluster = await enter(Cluster(ports.registry))
        peers = RpcStoragePeers(
            ports.peers,
            cluster,
            ports.clock,
            name=settings.node,
            timeout_s=settings.store_budget_s / PEER_SHARE,
            connected=lambda: ports.registry.connected,
        )
        node = await enter(
            open_storage(
                ports.repository,
                peers,
                ports.clock,
                limits_of(settings),
                policy=policy_of(settings),
                sweep_interval_s=settings.session_sweep_interval_s,
            )
        )
        stack.callback(cluster.subscribe(_drop_what_is_in_doubt(cluster, settings.node, node)))
        server = await enter(ports.serve(settings.rpc_listen, services(node, life.request_stop)))
        registration = await enter(registered(settings, KIND, server, ports))
        yield {
            "state": lambda: registration.record.state,
            "node": lambda: shown(registration.record),
            "registry": lambda: {"connected": ports.registry.connected},
            "slots": lambda: len(cluster.ring(KIND).slots_of(settings.node)),
            "nodes": lambda: [shown(each) for each in cluster.membership.nodes],
            "tasks": lambda: life.tasks,
            **_memory_of(node),
        }


def limits_of(settings: StorageSettings) -> Limits:
    return Limits(
        inbox_lanes=settings.inbox_lanes,
        session_lanes=settings.session_lanes,
        read_lanes=settings.read_lanes,
        lane_capacity=settings.lane_capacity,
        batch_max=settings.batch_max,
        cached_members_max=settings.cached_members_max,
        cached_entries_max=settings.cached_entries_max,
        inbox_tail=settings.inbox_tail,
        recent_sends_max=settings.recent_sends_max,
        list_places_max=settings.list_places_max,
        store_budget_s=settings.store_budget_s,
        flush_interval_s=settings.flush_interval_s,
    )


def policy_of(settings: StorageSettings) -> RetentionPolicy:
    return RetentionPolicy(
        message_days=settings.message_retention_days,
        inbox_days=settings.inbox_retention_days,
        interval_s=settings.retention_interval_s,
        step=settings.retention_step,
    )


@asynccontextmanager
async def _mongo(settings: StorageSettings, life: Lifecycle, clock: Clock, health: Health) -> AsyncIterator[Repository]:
    """The repository on MongoDB, once that answers; its health is watched."""
    from services.storage.repository.mongo.connection import connected
    from services.storage.repository.mongo.repository import ensure_schema, mongo_repository

    async with connected(
        settings.mongodb_uri,
        settings.mongodb_database,
        clock,
        timeout_s=settings.mongodb_timeout_s,
        connections_max=settings.mongodb_connections_max,
        name=settings.node,
    ) as connection:
        await _until_prepared(lambda: ensure_schema(connection), health, life)
        life.spawn(_watch(lambda: connection.away, health), name="mongodb health")
        yield mongo_repository(connection)


async def _until_prepared(prepare: Callable[[], Awaitable[None]], health: Health, life: Lifecycle) -> None:
    """Waits until MongoDB answers and has the schema. Raises Internal if something else is in its place, Unavailable if
    the node is asked to stop before.
    """
    while True:
        try:
            await prepare()
            break
        except Unavailable as error:
            health.set("mongodb", ok=False, reason=AWAY)
            log.warning("waiting for mongodb", reason=error.message)
            if life.stop_requested:
                raise Unavailable(f"the node was stopped while it waited for MongoDB. {AWAY}") from error
            await asyncio.sleep(RETRY_S)
    health.set("mongodb", ok=True)


async def _watch(is_away: Callable[[], bool], health: Health) -> None:
    """Keeps the health of MongoDB. It is degraded only: a node whose database is away still answers, with a time to try
    again.
    """
    while True:
        health.set("mongodb", ok=not is_away(), reason=AWAY, degraded=True)
        await asyncio.sleep(HEALTH_INTERVAL_S)


def _drop_what_is_in_doubt(cluster: Cluster, name: str, node: Storage) -> Callable[[Membership, Membership], None]:
    """A subscriber of the cluster, which drops what this node has in memory of doubtful slots."""
    change = RingChange(name)

    def changed(before: Membership, after: Membership) -> None:
        ring = cluster.ring(KIND)
        metrics.RING_SLOTS_OWNED.labels(KIND).set(len(ring.slots_of(name)))
        node.ring_changed(change.doubtful_slots(before, after, ring))

    return changed


def _memory_of(node: Storage) -> Mapping[str, Callable[[], Any]]:
    return {
        "memory": lambda: {"conversations": node.conversations.cached, "inboxes": node.inboxes.cached},
        "lanes": node.lanes,
        "waiting_to_be_written": lambda: node.behind.waiting,
    }
