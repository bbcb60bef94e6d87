"""A storage node as a process: etcd, MongoDB, Kafka and gRPC for `storage_node`, and the ops address before all else.

    ops ─▶ MongoDB, schema ─▶ etcd, calls, certificates (common/node.py) ─▶ the node (wiring.py)

Guarantees: the node waits until MongoDB answers. /healthz and /debug/state answer meanwhile.
Does not know: what a storage node consists of.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.common.clock import Clock
from services.common.gatherer import RETRY_S
from services.common.lifecycle import Lifecycle
from services.common.node import NodeShell
from services.common.telemetry import logs
from services.common.telemetry.health import Health
from services.storage.repository.contract import Repository
from services.storage.settings import StorageSettings
from services.storage.wiring import StoragePorts, storage_node
from tidings_protocol.errors import Unavailable

# How soon a thread that waits for the interpreter gets it. Measured with an event loop that is busy for 3 ms at a time:
# a command to MongoDB, which the driver makes in a thread, takes 8 ms with this and 500 ms with Python's default of 5
# ms.
SWITCH_INTERVAL_S = 0.0005
HEALTH_INTERVAL_S = 1.0
AWAY = "MongoDB does not answer: check that it is at TIDINGS_MONGODB_URI, and that its replica set has a primary"

log = logs.get_logger(__name__)


@asynccontextmanager
async def app(settings: StorageSettings, life: Lifecycle) -> AsyncIterator[None]:
    """A storage node as a process, on etcd, MongoDB, Kafka and gRPC."""
    # The driver makes each command in a thread of its own pool, whose size it reads when it is imported.
    os.environ.setdefault("MOTOR_MAX_WORKERS", str(settings.mongodb_connections_max))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    async with NodeShell(settings, life) as shell:
        repository = await shell.enter(_mongo(settings, life, shell.clock, shell.health))
        ports = await shell.connect(StoragePorts, kafka=settings.events_enabled, repository=repository)
        shell.show(await shell.enter(storage_node(settings, life, ports)))
        yield


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
