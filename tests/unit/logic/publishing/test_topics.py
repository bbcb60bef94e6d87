"""The topics of a logic node."""

from __future__ import annotations

from services.common.bus.topics import delivery_topics, topic_names
from services.logic.publishing.topics import topics_of
from services.logic.settings import LogicSettings

SETTINGS = LogicSettings(
    node="logic-0", kafka_topic_prefix="t", mailbox_partitions=2, broadcast_partitions=1, events_retention_h=2
)


def test_a_logic_node_has_those_of_deliveries_made_and_that_of_the_events() -> None:
    *delivery, events = topics_of(SETTINGS)
    assert delivery == delivery_topics(SETTINGS)
    assert (events.name, events.partitions) == (topic_names(SETTINGS).events, SETTINGS.events_partitions)
    assert events.retention_ms == 2 * 3_600_000
