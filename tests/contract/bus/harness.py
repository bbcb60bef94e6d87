"""What the contract suite asks of a bus that it tests: to make buses, and to make them fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from services.common.bus.contract import Bus
from services.common.bus.memory import MemoryBroker, MemoryBus


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
