"""What the contract suite asks of a bus that it tests: to make buses, and to make them fail."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from services.common.bus.contract import Bus
from services.common.bus.kafka import KafkaBus
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.ids import new_id
from tests.backends import RealBackends

LONG_S = 60.0


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


class MemoryHarness:
    """The twin."""

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


class KafkaHarness:
    """The adapter on a real Kafka that others may use too."""

    def __init__(self, backends: RealBackends) -> None:
        self.backends = backends

    def new(self) -> KafkaBus:
        return KafkaBus([self.backends.kafka], "test", publish_timeout_s=1.0)

    def topic(self) -> str:
        return f"test-{new_id()}"

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """It stands still: connections stay open, and nothing answers."""
        pid = self.backends.process_of("kafka")["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    async def kill(self) -> None:
        """As kill -9; whoever watches over it starts it again."""
        pid = self.backends.process_of("kafka")["pid"]
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(LONG_S):
            while True:
                now = self.backends.process_of("kafka")
                if now["pid"] not in (None, pid) and now["state"] == "ready":
                    return
                await asyncio.sleep(0.1)

    async def lose(self, topic: str, partition: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.backends.kafka)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=-1)})
        finally:
            await admin.close()
