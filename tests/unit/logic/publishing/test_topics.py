"""The topics that a logic node makes."""

from __future__ import annotations

from services.logic.publishing.topics import topics_of
from services.logic.settings import LogicSettings


def test_names_and_partitions_are_those_of_the_settings() -> None:
    settings = LogicSettings(node="logic-0", kafka_topic_prefix="t", mailbox_partitions=2, broadcast_partitions=1)
    made = {topic.name: topic.partitions for topic in topics_of(settings)}
    assert made == {"t.deliver": 2, "t.broadcast": 1, "t.events": settings.events_partitions}
