"""A mongod of a test's own: a replica set of one, that can be killed, stopped for a while and started again on its
data.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.support.faults.standstill import go_on, stop
from tests.support.network.ports import free_port
from tools.cli.stack.programs.supply import find

READY_S = 60.0


class Mongod:
    def __init__(self, folder: Path, *, port: int = 0, cache_gb: float = 0.25) -> None:
        self._folder = folder
        self._port = port or free_port()
        self._cache_gb = cache_gb
        self._process: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self._port}/?replicaSet=test"

    async def start(self) -> None:
        """Returns when it is the primary."""
        data = self._folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        with (self._folder / "mongod.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *find(["mongodb"], os.environ).mongod,
                "--replSet=test",
                "--bind_ip=127.0.0.1",
                f"--port={self._port}",
                f"--dbpath={data}",
                "--nounixsocket",
                f"--wiredTigerCacheSizeGB={self._cache_gb:g}",
                "--setParameter=diagnosticDataCollectionEnabled=false",
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(READY_S):
            while True:
                if await asyncio.to_thread(self._is_primary):
                    return
                await asyncio.sleep(0.1)

    async def kill(self) -> None:
        """Ends it as kill -9 does."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self.resume()
            await self._end(signal.SIGTERM)

    def pause(self) -> None:
        """It keeps its connections and says nothing."""
        assert self._process is not None
        stop(self._process.pid)

    def resume(self) -> None:
        assert self._process is not None
        go_on(self._process.pid)

    async def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        await self._process.wait()

    def _is_primary(self) -> bool:
        address = f"mongodb://127.0.0.1:{self._port}/?directConnection=true"
        try:
            with MongoClient[dict[str, Any]](address, serverSelectionTimeoutMS=500) as client:
                hello = client.admin.command("hello")
                if not hello.get("setName"):
                    members = [{"_id": 0, "host": f"127.0.0.1:{self._port}"}]
                    client.admin.command("replSetInitiate", {"_id": "test", "members": members})
                return bool(hello.get("isWritablePrimary"))
        except PyMongoError:
            return False
