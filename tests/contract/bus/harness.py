"""What the contract suite asks of a bus that it tests: to make buses, and to make them fail."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from services.common.bus.contract import Bus, Topic
from services.common.bus.kafka.admin import SET_HERE
from services.common.bus.kafka.bus import KafkaBus
from services.common.bus.memory import MemoryBroker, MemoryBus
from tests.support.cluster.backends import RealBackends
from tests.support.faults.standstill import go_on, stop
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import new_id

LONG_S = 60.0
# Kafka reads all that it has when it starts after a kill.
RESTART_S = 240.0


async def ensure(bus: Bus, topic: Topic) -> None:
    """As services do: again while Kafka, which just stood still in another test, is not quite there."""
    async with asyncio.timeout(LONG_S):
        while True:
            try:
                return await bus.ensure_topics([topic])
            except Unavailable:
                await asyncio.sleep(0.05)


class Harness(Protocol):
    """One broker service."""

    def new(self) -> Bus:
        """A client of it, not yet entered."""
        ...

    def topic(self) -> str:
        """A name that nobody has used."""
        ...

    def outage(self) -> AbstractAsyncContextManager[None]:
        """The service is away within."""
        ...

    async def lose(self, topic: str, partition: int) -> None:
        """All records that the partition holds are gone."""
        ...

    async def wipe(self) -> None:
        """The service comes back with nothing: no topics, no records."""
        ...


class MemoryHarness:
    """The bus's twin in memory."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self._topics = 0

    def new(self) -> Bus:
        return MemoryBus(self.broker)

    def topic(self) -> str:
        self._topics += 1
        return f"topic-{self._topics}"

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self.broker.away()
        yield
        self.broker.back()

    async def lose(self, topic: str, partition: int) -> None:
        self.broker.drop(topic, partition)

    async def wipe(self) -> None:
        self.broker.wipe()


class KafkaHarness:
    """The adapter on a real Kafka that others may use too."""

    def __init__(self, backends: RealBackends) -> None:
        self.backends = backends
        self._topics: list[str] = []

    async def clean(self) -> None:
        """Removes the topics of this test: a Kafka that is killed has to recover each of them."""
        async with asyncio.timeout(LONG_S):
            while True:
                try:
                    async with self.admin() as admin:
                        there = await admin.list_topics()
                        await admin.delete_topics([name for name in there if name.startswith(tuple(self._topics))])
                        return
                except KafkaError:
                    await asyncio.sleep(0.1)

    def new(self) -> KafkaBus:
        return KafkaBus([self.backends.kafka], "test", publish_timeout_s=4.0)

    async def configs(self, topic: str) -> dict[str, str]:
        """What is set for this topic."""
        async with self.admin() as admin:
            [response] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
            return {entry[0]: entry[1] for entry in response.resources[0][4] if entry[3] == SET_HERE}

    def topic(self) -> str:
        self._topics.append(f"test-{new_id()}")
        return self._topics[-1]

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """It stands still: connections stay open, and nothing answers."""
        pid = self.backends.process_of("kafka")["pid"]
        stop(pid)
        try:
            yield
        finally:
            go_on(pid)

    async def wipe(self) -> None:
        await self.kill(empty=True)

    async def kill(self, *, empty: bool = False) -> None:
        """As kill -9; whoever watches over it starts it again, on an empty disk if asked."""
        pid = self.backends.process_of("kafka")["pid"]
        os.kill(pid, signal.SIGKILL)
        if empty:
            (records,) = self.backends.folder.path.glob("**/kafka/records")
            shutil.rmtree(records)
        async with asyncio.timeout(RESTART_S):
            while True:
                now = self.backends.process_of("kafka")
                if now["pid"] not in (None, pid) and now["state"] == "ready":
                    return
                await asyncio.sleep(0.1)

    async def lose(self, topic: str, partition: int) -> None:
        async with self.admin() as admin:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=-1)})

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """A connection that may do everything."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.backends.kafka)
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()
