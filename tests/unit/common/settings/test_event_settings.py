"""Storage and logic nodes make one stream of events, with one set of settings."""

from __future__ import annotations

from services.common.bus.topics import events_topic
from services.common.settings.events import EventSettings
from services.common.settings.sources import load
from services.logic.settings import LogicSettings
from services.storage.settings import StorageSettings

GIVEN = {"TIDINGS_NODE": "a-0", "TIDINGS_EVENTS_PARTITIONS": "7", "TIDINGS_EVENTS_RETENTION_H": "2"}


def test_whoever_makes_the_topic_of_events_makes_the_same() -> None:
    nodes: list[EventSettings] = [load(LogicSettings, GIVEN), load(StorageSettings, GIVEN)]
    [topic] = {events_topic(settings) for settings in nodes}
    assert (topic.name, topic.partitions, topic.retention_ms) == ("tidings.events", 7, 7_200_000)
