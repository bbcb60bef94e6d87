"""The topics: what they are called, and the wait until they are there."""

from __future__ import annotations

import asyncio

import pytest

from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.lifecycle import Lifecycle
from services.logic.publishing.topics import make_topics, topic_names, topics_of, wait_for_topics
from services.logic.settings import LogicSettings
from tidings_protocol.errors import Unavailable

SETTINGS = LogicSettings(node="logic-0", kafka_topic_prefix="t", mailbox_partitions=2, broadcast_partitions=1)


def test_names_and_partitions_are_those_of_the_settings() -> None:
    names = topic_names(SETTINGS)
    assert (names.deliver, names.broadcast, names.events) == ("t.deliver", "t.broadcast", "t.events")
    made = {topic.name: topic.partitions for topic in topics_of(SETTINGS)}
    assert made == {"t.deliver": 2, "t.broadcast": 1, "t.events": SETTINGS.events_partitions}


async def test_topics_are_made_as_soon_as_kafka_is_there() -> None:
    broker = MemoryBroker()
    broker.away()
    making = asyncio.ensure_future(make_topics(MemoryBus(broker), topics_of(SETTINGS), Lifecycle(), retry_s=0))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not making.done()
    broker.back()
    await making
    assert len(broker.topic("t.deliver")) == 2


async def test_a_process_that_is_asked_to_stop_does_not_wait_for_kafka() -> None:
    broker, life = MemoryBroker(), Lifecycle()
    broker.away()
    life.request_stop()
    with pytest.raises(Unavailable):
        await make_topics(MemoryBus(broker), topics_of(SETTINGS), life, retry_s=0)


async def test_a_node_starts_without_kafka_after_a_while() -> None:
    broker, life = MemoryBroker(), Lifecycle()
    broker.away()
    async with asyncio.TaskGroup() as group:
        life.begin(group)
        await wait_for_topics(MemoryBus(broker), topics_of(SETTINGS), life, retry_s=0, wait_s=0.01)
        assert life.tasks == ["topics"]
        broker.back()
    assert len(broker.topic("t.events")) == SETTINGS.events_partitions
