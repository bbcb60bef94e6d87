"""What the contract suite asks of a registry that it tests: to make registries, and to make them fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from services.common.registry.contract import Registry
from services.common.registry.memory import MemoryRegistry, MemoryStore


class Harness(Protocol):
    """One empty registry service."""

    def new(self) -> Registry:
        """A client of it, not yet entered."""
        ...

    async def expire(self, registry: Registry) -> None:
        """The lease of this client runs out although it runs on."""
        ...

    def outage(self) -> AbstractAsyncContextManager[None]:
        """The service is away within."""
        ...


class MemoryHarness:
    """The twin."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def new(self) -> Registry:
        return MemoryRegistry(self.store)

    async def expire(self, registry: Registry) -> None:
        assert isinstance(registry, MemoryRegistry)
        self.store.forget(registry)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self.store.away()
        yield
        self.store.back()
