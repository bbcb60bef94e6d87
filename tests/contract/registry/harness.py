"""What the contract suite asks of a registry that it tests: to make registries, and to make them fail."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol, Self

from services.common.registry.contract import Membership, Registry
from services.common.registry.etcd import EtcdRegistry
from services.common.registry.etcd_client import EtcdClient
from services.common.registry.memory import MemoryRegistry, MemoryStore
from services.common.scope import TaskScope
from tests.support.cluster.backends import free_port_base
from tests.support.faults.standstill import go_on, stop
from tidings_protocol.ids import new_id
from tools.cli.stack.ports import Ports
from tools.cli.stack.programs.etcd import Etcd
from tools.cli.stack.programs.supply import find

LONG_S = 30.0
TTL_S = 2


class Harness(Protocol):
    """One empty registry service."""

    def new(self) -> Registry:
        """A client of it, not yet entered."""
        ...

    async def expire(self, registry: Registry) -> None:
        """The lease of this client runs out although it runs on; another node is registered and notices it."""
        ...

    def outage(self) -> AbstractAsyncContextManager[None]:
        """The service is away within, and its clients have noticed."""
        ...


class MemoryHarness:
    """The registry's twin in memory."""

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


class EtcdProcess:
    """A real etcd of one member, with data of its own."""

    def __init__(self, folder: Path) -> None:
        self.ports = Ports(free_port_base(0, 0, 0))
        self.address = f"127.0.0.1:{self.ports.etcd}"
        self._program = Etcd(find(("etcd",), os.environ).etcd, self.ports, folder / "etcd", os.environ)
        self._log = folder / "etcd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it is healthy."""
        self._program.prepare()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._program.command(), env=dict(self._program.environment()), stdout=log, stderr=log
            )
        deadline = time.monotonic() + LONG_S
        while not self._healthy():
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            time.sleep(0.02)

    def kill(self) -> None:
        """Ends it as kill -9 does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def wipe(self) -> None:
        """All data is gone."""
        shutil.rmtree(self._program.data)

    def pause(self) -> None:
        """It neither answers nor refuses."""
        assert self._process is not None
        stop(self._process.pid)

    def go_on(self) -> None:
        assert self._process is not None
        go_on(self._process.pid)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}/health", timeout=1) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False


class EtcdHarness:
    """The adapter on a real etcd; each harness has a cluster name of its own."""

    def __init__(self, etcd: EtcdProcess) -> None:
        self.etcd = etcd
        self.cluster = new_id()
        self.registries: list[EtcdRegistry] = []

    def new(self) -> Registry:
        return self.at(self.etcd.address)

    def at(self, *endpoints: str) -> EtcdRegistry:
        self.registries.append(EtcdRegistry(endpoints, self.cluster, lease_ttl_s=TTL_S))
        return self.registries[-1]

    async def expire(self, registry: Registry) -> None:
        assert isinstance(registry, EtcdRegistry)
        record = registry._own.record
        assert record is not None
        # As if its process stood still until the others have noticed.
        async with EtcdClient([self.etcd.address]) as client, registry._changing:
            await client.revoke(registry.lease)
            async with asyncio.timeout(LONG_S):
                while True:
                    if await client.read(f"/tidings/{self.cluster}/dead/{record.boot_id}") is not None:
                        break
                    await asyncio.sleep(0.01)

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        self.etcd.kill()
        try:
            for registry in self.registries:
                await until(lambda: not registry.connected)  # noqa: B023 - it ends before the next
            yield
        finally:
            self.etcd.start()


class Link:
    """A connection to etcd that can be cut: what is sent then waits, in both directions."""

    def __init__(self, address: str) -> None:
        self._target = address.split(":")
        self._open = asyncio.Event()
        self._open.set()
        self._scope = TaskScope()
        self.address = ""

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        self._server.close()
        await self._scope.__aexit__(None, None, None)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._target[0], int(self._target[1]))
        self._scope.spawn(self._pass(reader, there_writer), name="link up")
        self._scope.spawn(self._pass(there_reader, writer), name="link down")

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


async def until(condition: Callable[[], bool]) -> None:
    """Returns when it holds."""
    async with asyncio.timeout(LONG_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def seen(registry: Registry, condition: Callable[[Membership], bool]) -> Membership:
    """The first membership that this registry shows for which it holds."""
    async with asyncio.timeout(LONG_S):
        async for membership in registry.watch():
            if condition(membership):
                return membership
    raise AssertionError("a watch does not end")
