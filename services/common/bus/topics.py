"""The topics of a cluster: their names, what they are made with, and how long a node waits for them.

Guarantees: every node of one cluster names and makes them alike. A node waits at most `WAIT_S` for its topics, since a
cluster may start as a whole, then starts without them and goes on trying: all nodes can be started, and started anew,
while the bus is away. Without it access nodes are called by the others, and read their mailboxes from where they end
once the bus is back.

Does not know: what goes over a topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.common.bus.contract import Bus, Topic
from services.common.gatherer import RETRY_S
from services.common.lifecycle import Lifecycle
from services.common.settings.events import EventSettings
from services.common.settings.node import NodeSettings
from services.common.telemetry import logs
from tidings_protocol.errors import Unavailable

WAIT_S = 10.0
HOUR_MS = 3_600_000

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The names of the topics, and how many partitions the broadcast has."""

    prefix: str
    broadcast_partitions: int

    @property
    def deliver(self) -> str:
        """The mailboxes of the access nodes, a partition each."""
        return f"{self.prefix}.deliver"

    @property
    def broadcast(self) -> str:
        """What every access node reads."""
        return f"{self.prefix}.broadcast"

    @property
    def events(self) -> str:
        """What other systems read."""
        return f"{self.prefix}.events"


def topic_names(settings: NodeSettings) -> TopicNames:
    """Their names by the settings of a node."""
    return TopicNames(settings.kafka_topic_prefix, settings.broadcast_partitions)


def delivery_topics(settings: NodeSettings) -> list[Topic]:
    """Those that access nodes read: the mailboxes and the broadcast."""
    names, replication = topic_names(settings), settings.kafka_replication
    return [
        Topic(names.deliver, settings.mailbox_partitions, replication),
        Topic(names.broadcast, settings.broadcast_partitions, replication),
    ]


def events_topic(settings: EventSettings) -> Topic:
    """The one that other systems read."""
    return Topic(
        topic_names(settings).events,
        settings.events_partitions,
        settings.kafka_replication,
        retention_ms=settings.events_retention_h * HOUR_MS,
    )


async def make_topics(bus: Bus, topics: Sequence[Topic], given_up: Callable[[], bool] = lambda: False) -> None:
    """Makes those that are not there, as soon as the bus answers: tries once a second.

    Raises Unavailable at the first failure after `given_up`. A cancellation leaves topics made or not; both are
    harmless.
    """
    while True:
        try:
            return await bus.ensure_topics(topics)
        except Unavailable as error:
            if given_up():
                raise
            log.warning("the topics cannot be made yet", reason=error.message)
            await asyncio.sleep(RETRY_S)


async def prepare_topics(bus: Bus, topics: Sequence[Topic], life: Lifecycle) -> None:
    """Returns when the topics are there, or after `WAIT_S`; what is missing then is made by a task of the process."""
    making = life.spawn(make_topics(bus, topics), name="topics")
    done, _ = await asyncio.wait((making,), timeout=WAIT_S)
    if not done:
        log.warning("the bus is away: the node starts without it")
