"""The topics that a logic node makes; that they are waited for is shown in tests/unit/common/bus/test_topics.py."""

from __future__ import annotations

from services.common.bus.topics import topic_names
from services.logic.publishing.topics import topics_of
from services.logic.settings import LogicSettings

SETTINGS = LogicSettings(node="logic-0", kafka_topic_prefix="t", mailbox_partitions=2, broadcast_partitions=1)


def test_names_and_partitions_are_those_of_the_settings() -> None:
    names = topic_names(SETTINGS)
    assert (names.deliver, names.broadcast, names.events) == ("t.deliver", "t.broadcast", "t.events")
    made = {topic.name: topic.partitions for topic in topics_of(SETTINGS)}
    assert made == {"t.deliver": 2, "t.broadcast": 1, "t.events": SETTINGS.events_partitions}
