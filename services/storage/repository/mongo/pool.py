"""How full the driver's pool of connections is, told by the driver's own events.

Guarantees: each event costs a few microseconds; the driver calls from its threads, so the counting is under a lock.
Connections that the driver keeps to watch the servers are in no pool, and not counted.
Does not know: commands.
"""

from __future__ import annotations

import threading
import time

from pymongo.monitoring import (
    ConnectionCheckedInEvent,
    ConnectionCheckedOutEvent,
    ConnectionCheckOutFailedEvent,
    ConnectionCheckOutFailedReason,
    ConnectionCheckOutStartedEvent,
    ConnectionClosedEvent,
    ConnectionCreatedEvent,
    ConnectionPoolListener,
    ConnectionReadyEvent,
    PoolClearedEvent,
    PoolClosedEvent,
    PoolCreatedEvent,
    PoolReadyEvent,
)

from services.common.telemetry import metrics

_REASONS = {
    ConnectionCheckOutFailedReason.TIMEOUT: "timeout",
    ConnectionCheckOutFailedReason.POOL_CLOSED: "closed",
    ConnectionCheckOutFailedReason.CONN_ERROR: "error",
}


class PoolWatch(ConnectionPoolListener):
    """Watches the pools of one client, over all its servers."""

    def __init__(self, connections_max: int) -> None:
        self._lock = threading.Lock()
        self._open = self._busy = 0
        self._asked = threading.local()
        metrics.REPOSITORY_CONNECTIONS_MAX.set(connections_max)
        self._count(0, 0)

    def connection_created(self, event: ConnectionCreatedEvent) -> None:  # noqa: ARG002 - all servers are one here
        self._count(1, 0)

    def connection_closed(self, event: ConnectionClosedEvent) -> None:  # noqa: ARG002
        self._count(-1, 0)

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:  # noqa: ARG002
        # The command's own thread asks, waits, and is told.
        self._asked.at = time.perf_counter()

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:  # noqa: ARG002
        metrics.REPOSITORY_CHECKOUT_SECONDS.observe(time.perf_counter() - self._asked.at)
        self._count(0, 1)

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:
        metrics.REPOSITORY_CHECKOUTS_FAILED.labels(_REASONS.get(event.reason, "error")).inc()

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:  # noqa: ARG002
        self._count(0, -1)

    def pool_created(self, event: PoolCreatedEvent) -> None: ...

    def pool_ready(self, event: PoolReadyEvent) -> None: ...

    def pool_cleared(self, event: PoolClearedEvent) -> None: ...

    def pool_closed(self, event: PoolClosedEvent) -> None: ...

    def connection_ready(self, event: ConnectionReadyEvent) -> None: ...

    def _count(self, opened: int, taken: int) -> None:
        with self._lock:
            self._open += opened
            self._busy += taken
            _OPEN.set(self._open)
            _BUSY.set(self._busy)


_OPEN = metrics.REPOSITORY_CONNECTIONS.labels("open")
_BUSY = metrics.REPOSITORY_CONNECTIONS.labels("busy")
