"""The topics of a cluster: named alike, made as soon as the bus answers, waited for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.common.bus import topics
from services.common.bus.contract import Topic
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.bus.topics import delivery_topics, make_topics, prepare_topics, topic_names
from services.common.lifecycle import Lifecycle
from services.common.settings.node import NodeSettings
from tidings_protocol.errors import Unavailable

WANTED = [Topic("t.deliver", 8), Topic("t.broadcast", 2)]


class Life(Lifecycle):
    """Its tasks can be waited for."""

    async def ended(self) -> None:
        async with asyncio.timeout(5):
            await asyncio.gather(*self._tasks)


@asynccontextmanager
async def living() -> AsyncIterator[Life]:
    life = Life()
    async with asyncio.TaskGroup() as group:
        life.begin(group)
        yield life
        life.end()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "RETRY_S", 0.0)
    monkeypatch.setattr(topics, "WAIT_S", 0.05)


def test_names_and_sizes_are_those_of_the_settings() -> None:
    settings = NodeSettings(
        kafka_topic_prefix="t", mailbox_partitions=8, broadcast_partitions=2, kafka_replication=3, node="n"
    )
    names = topic_names(settings)
    assert (names.deliver, names.broadcast, names.events) == ("t.deliver", "t.broadcast", "t.events")
    assert delivery_topics(settings) == [Topic("t.deliver", 8, 3), Topic("t.broadcast", 2, 3)]


async def test_what_is_missing_is_made_and_the_node_does_not_wait_longer() -> None:
    broker = MemoryBroker()
    async with MemoryBus(broker) as bus, living() as life:
        await prepare_topics(bus, WANTED, life)
        assert len(broker.topic("t.deliver")) == 8
        assert not life.tasks


async def test_while_the_bus_is_away_the_node_starts_and_the_topics_are_made_later() -> None:
    broker = MemoryBroker()
    broker.away()
    async with MemoryBus(broker) as bus, living() as life:
        await prepare_topics(bus, WANTED, life)
        assert life.tasks == ["topics"]
        assert not broker.topic("t.deliver")
        broker.back()
        await life.ended()
        assert not life.tasks
        assert len(broker.topic("t.broadcast")) == 2


async def test_a_job_tries_until_it_is_given_up() -> None:
    broker = MemoryBroker()
    broker.away()
    tries = iter([False, False, True])
    async with MemoryBus(broker) as bus:
        with pytest.raises(Unavailable):
            await make_topics(bus, WANTED, given_up=lambda: next(tries))
    assert not list(tries)
