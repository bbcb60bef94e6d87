"""A MongoDB that answers late: after it was away it is found again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.common.clock import SystemClock
from services.storage.repository.contract import Repository
from services.storage.repository.mongo.connection import connected
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from tests.integration.storage.mongod import Mongod
from tidings_protocol.errors import Unavailable

pytestmark = pytest.mark.integration

FAR_S = 0.2
HEALS_S = 20.0


class Link:
    """Carries bytes to a port, each way `delay_s` late; `cut` breaks what is open and lets nobody in until `heal`."""

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self._port = port
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            self.cut()
            server.close()

    def cut(self) -> None:
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def heal(self) -> None:
        self._is_cut = False

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.close()
            return
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, up_writer}
        async with asyncio.TaskGroup() as both:
            both.create_task(self._carry(reader, up_writer))
            both.create_task(self._carry(up_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()

        def late(data: bytes) -> None:
            if not writer.is_closing():
                writer.write(data)

        try:
            while data := await reader.read(65536):
                loop.call_later(self.delay_s, late, data)
        except OSError:
            pass
        loop.call_later(self.delay_s, writer.close)


async def answers(repository: Repository) -> bool:
    try:
        await repository.users.find(["bob"])
    except Unavailable:
        await asyncio.sleep(0.05)
        return False
    return True


async def test_a_mongodb_that_has_become_slow_is_found_again(tmp_path: Path) -> None:
    mongod = Mongod(tmp_path)
    await mongod.start()
    link = Link(mongod.port)
    try:
        async with (
            link.open() as port,
            connected(
                f"mongodb://127.0.0.1:{port}/?directConnection=true",
                "far",
                SystemClock(),
                timeout_s=1.5,
                connections_max=8,
                name="test",
            ) as connection,
        ):
            await ensure_schema(connection)
            repository = mongo_repository(connection)
            link.delay_s = FAR_S
            assert await answers(repository)
            link.cut()
            assert not await answers(repository)
            link.heal()
            until = time.monotonic() + HEALS_S
            while not await answers(repository):
                assert time.monotonic() < until, "it answers in less than the deadline of a command"
            assert not connection.away
    finally:
        await mongod.stop()
