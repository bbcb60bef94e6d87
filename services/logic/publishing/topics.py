"""The topics that a logic node makes: those of deliveries, and the events for other systems.

Guarantees: every node of one cluster gets the same names. Does not know: Kafka.
"""

from __future__ import annotations

from services.common.bus.contract import Topic
from services.common.bus.topics import delivery_topics, events_topic
from services.logic.settings import LogicSettings


def topics_of(settings: LogicSettings) -> list[Topic]:
    """All that have to be there."""
    return [*delivery_topics(settings), events_topic(settings)]
