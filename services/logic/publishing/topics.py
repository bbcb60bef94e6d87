"""The topics of a cluster, by its settings: their names, and what they are made with.

Guarantees: every node of one cluster gets the same. Does not know: Kafka.
"""

from __future__ import annotations

from services.common.bus.contract import Topic
from services.logic.publishing.publisher import TopicNames
from services.logic.settings import LogicSettings

HOUR_MS = 3_600_000


def topics_of(settings: LogicSettings) -> TopicNames:
    return TopicNames(settings.kafka_topic_prefix, settings.broadcast_partitions)


def wanted(settings: LogicSettings) -> list[Topic]:
    """All that have to be there."""
    names = topics_of(settings)
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
