"""`python -m services.storage.migrate [--drop]`: takes over messages and inboxes of 0.1.0, and ends.

While storage nodes are alive, what they still write is missing afterwards; a run without any finishes. It tells what it
does as lines of JSON on standard output; `tidings migrate` shows them.

Guarantees: may be stopped at any time and run again, also beside nodes of 0.1.0; exit code 0 means that what is left to
do stands in the last line. Does not know: whether a node that etcd knows nothing of still writes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from services.common import lifecycle
from services.common.clock import Clock, SystemClock
from services.common.cluster import Cluster
from services.common.gatherer import RETRY_S
from services.common.lifecycle import Lifecycle
from services.common.telemetry import logs
from services.storage.owners.ring_change import KIND
from services.storage.repository.mongo.migration import Migration, Step
from services.storage.settings import StorageSettings
from tidings_protocol.errors import Unavailable

# A step may look at all that lies between two users.
COMMAND_S = 600.0
ETCD_S = 10.0
REPORT_S = 1.0

log = logs.get_logger(__name__)

Report = Callable[[dict[str, object]], None]


@dataclass(slots=True)
class Progress:
    """How far a pass is, and at which rate this run goes on with it."""

    clock: Clock
    total: int
    begun: int = 0
    compared: int = 0
    copied: int = 0
    removed: int = 0
    began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.began_s = self.clock.now_s()

    def add(self, step: Step) -> None:
        self.compared += step.compared
        self.copied += step.copied
        self.removed += step.removed

    def told(self) -> dict[str, object]:
        took_s = max(self.clock.now_s() - self.began_s, 0.001)
        rate = self.compared / took_s
        compared = self.begun + self.compared
        left = max(self.total - compared, 0)
        return {
            "compared": compared,
            "total": max(self.total, compared),
            "copied": self.copied,
            "removed": self.removed,
            "rate_per_s": round(rate),
            "left_s": round(left / rate) if rate else None,
        }


async def migrated(
    migration: Migration,
    serving: Callable[[], Awaitable[Sequence[str]]],
    clock: Clock,
    report: Report,
    *,
    stopped: Callable[[], bool] = lambda: False,
    drop: bool = False,
) -> None:
    """One run; the last report says `done`, and if not, whether it was `stopped` or who was `serving`. Raises
    Unavailable, Internal.
    """
    last: dict[str, object] = {"done": True}
    if await migration.is_needed():
        before = await serving()
        final = not before
        progress = Progress(clock, await migration.total(), await migration.begun(final=final))
        if not await _pass(migration, progress, report, stopped, final=final):
            report({"done": False, "stopped": True, **progress.told()})
            return
        names = sorted({*before, *await serving()})
        last = {"done": not names, "serving": names, **progress.told()}
        if not names:
            await migration.finish()
    if last["done"] and drop:
        await migration.drop()
    report({**last, "dropped": bool(last["done"] and drop)})


async def _pass(
    migration: Migration, progress: Progress, report: Report, stopped: Callable[[], bool], *, final: bool
) -> bool:
    """Whether it came to its end."""
    told_s = progress.began_s
    async for step in migration.steps(final=final):
        progress.add(step)
        if stopped():
            return False
        if progress.clock.now_s() - told_s >= REPORT_S:
            told_s = progress.clock.now_s()
            report({"collection": step.collection, **progress.told()})
    return True


@asynccontextmanager
async def migrate(settings: StorageSettings, life: Lifecycle) -> AsyncIterator[None]:
    """Takes over when it is entered, and asks the process to stop."""
    from services.storage.repository.mongo.connection import connected
    from services.storage.repository.mongo.repository import make_schema

    clock = SystemClock()
    async with connected(
        settings.mongodb_uri,
        settings.mongodb_database,
        clock,
        timeout_s=COMMAND_S,
        connections_max=settings.mongodb_connections_max,
        name="migrate",
    ) as connection:
        while not life.stop_requested:
            try:
                await make_schema(connection)
                await migrated(
                    Migration(connection),
                    lambda: _serving(settings),
                    clock,
                    _put,
                    stopped=lambda: life.stop_requested,
                    drop="--drop" in sys.argv[1:],
                )
                break
            except Unavailable as error:
                log.warning("waiting", reason=error.message)
                await asyncio.sleep(RETRY_S)
    life.request_stop()
    yield


async def _serving(settings: StorageSettings) -> list[str]:
    """The storage nodes that are alive. Raises Unavailable if etcd does not answer."""
    from services.common.registry.etcd import EtcdRegistry
    from services.common.registry.etcd_tls import etcd_tls_of

    try:
        async with (
            asyncio.timeout(ETCD_S),
            EtcdRegistry(settings.etcd_endpoints, settings.cluster, tls=etcd_tls_of(settings)) as registry,
            Cluster(registry) as cluster,
        ):
            return [node.name for node in cluster.membership.nodes if node.kind == KIND]
    except TimeoutError:
        raise Unavailable("etcd does not answer: whether storage nodes serve is not known") from None


def _put(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    lifecycle.run("storage", StorageSettings, migrate)
