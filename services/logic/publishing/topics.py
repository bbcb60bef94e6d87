"""The topics of a cluster, by its settings: their names, what they are made with, and the wait until they are there.

Guarantees: every node of one cluster gets the same names. Does not know: Kafka.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.bus.contract import Bus, Topic
from services.common.lifecycle import Lifecycle
from services.common.telemetry import logs
from services.logic.settings import LogicSettings
from tidings_protocol.errors import Unavailable

HOUR_MS = 3_600_000

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The names of the topics, and how many partitions the broadcast has."""

    prefix: str
    broadcast_partitions: int

    @property
    def deliver(self) -> str:
        return f"{self.prefix}.deliver"

    @property
    def broadcast(self) -> str:
        return f"{self.prefix}.broadcast"

    @property
    def events(self) -> str:
        return f"{self.prefix}.events"


def topic_names(settings: LogicSettings) -> TopicNames:
    """What the topics of this cluster are called."""
    return TopicNames(settings.kafka_topic_prefix, settings.broadcast_partitions)


def topics_of(settings: LogicSettings) -> list[Topic]:
    """All topics that have to be there."""
    names = topic_names(settings)
    return [
        Topic(names.deliver, settings.mailbox_partitions, settings.kafka_replication),
        Topic(names.broadcast, settings.broadcast_partitions, settings.kafka_replication),
        Topic(
            names.events,
            settings.events_partitions,
            settings.kafka_replication,
            retention_ms=settings.events_retention_h * HOUR_MS,
        ),
    ]


async def make_topics(bus: Bus, topics: Sequence[Topic], life: Lifecycle, *, retry_s: float) -> None:
    """Makes the topics, or lets them grow. Returns when that is done, however long Kafka is away.

    Raises Unavailable if Kafka is away and the process was asked to stop. May be cancelled and repeated at any time.
    """
    while True:
        try:
            await bus.ensure_topics(topics)
        except Unavailable as error:
            if life.stop_requested:
                raise
            log.warning("topics not there yet", reason=error.message)
            await asyncio.sleep(retry_s)
        else:
            return


async def wait_for_topics(bus: Bus, topics: Sequence[Topic], life: Lifecycle, *, retry_s: float, wait_s: float) -> None:
    """Waits a while for the topics, since a cluster may start as a whole; then they are made in the background."""
    done = asyncio.Event()

    async def make() -> None:
        try:
            await make_topics(bus, topics, life, retry_s=retry_s)
        except Unavailable as error:
            log.warning("topics are not made: the node stops", reason=error.message)
        done.set()

    life.spawn(make(), name="topics")
    try:
        async with asyncio.timeout(wait_s):
            await done.wait()
    except TimeoutError:
        log.warning("kafka is away: the node starts without it")
