"""`python -m services.storage.prepare`: makes the collections and their indexes, and ends.

For a job that runs before the nodes: where these have no right to make indexes, or where a large index is built while
the old nodes still serve. Nodes do the same at their start.

Guarantees: may run again at any time, also beside nodes; waits until MongoDB answers; exit code 0 means done. Where
data of 0.1.0 were not taken over it fails, before a node of this version would.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common import lifecycle
from services.common.clock import SystemClock
from services.common.gatherer import RETRY_S
from services.common.lifecycle import Lifecycle
from services.common.telemetry import logs
from services.storage.app import AWAY
from services.storage.settings import StorageSettings
from tidings_protocol.errors import Unavailable

log = logs.get_logger(__name__)


@asynccontextmanager
async def prepare(settings: StorageSettings, life: Lifecycle) -> AsyncIterator[None]:
    """Makes collections and indexes when it is entered, and asks the process to stop. Raises Unavailable if the process
    is asked to stop before MongoDB answers.
    """
    from services.storage.repository.mongo.connection import connected
    from services.storage.repository.mongo.repository import ensure_schema

    async with connected(
        settings.mongodb_uri,
        settings.mongodb_database,
        SystemClock(),
        timeout_s=settings.mongodb_timeout_s,
        connections_max=settings.mongodb_connections_max,
        name=settings.node,
    ) as connection:
        while True:
            try:
                await ensure_schema(connection)
                break
            except Unavailable as error:
                if life.stop_requested:
                    raise Unavailable(AWAY) from error
                log.warning("waiting for mongodb", reason=error.message)
                await asyncio.sleep(RETRY_S)
    log.info("collections and indexes are there", database=settings.mongodb_database)
    life.request_stop()
    yield


if __name__ == "__main__":
    lifecycle.run("storage", StorageSettings, prepare)
