"""The processes of the load generator, as the one that started them sees them.

Guarantees: they end with `workers`. What one says is heard in its order; how many connections each has open is known at
any time, whatever else it is waited for.
"""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

import tidings_server
from tools.cli.failure import Failure

LINE_BYTES_MAX = 256 * 1024 * 1024
WAITING_MAX = 100


class Worker:
    """One process. `connections`: that it has open, as it said last."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._said: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(WAITING_MAX)
        self.connections = 0

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncIterator[Self]:
        """It is killed when this is left, if it has not ended."""
        program = tidings_server.program("tools.bench.worker")
        process = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, limit=LINE_BYTES_MAX)
        worker = cls(process)
        listening = asyncio.create_task(worker._listen(), name="listening to the load generator")
        try:
            yield worker
        finally:
            listening.cancel()
            if process.returncode is None:
                process.kill()
            await process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self) -> dict[str, Any]:
        """What it says next, but for its connections. Raises Failure."""
        told = await self._said.get()
        if told is None:
            raise Failure("A process of the load generator ended early.", "Its reason is above.")
        if "failure" in told:
            raise Failure(told["failure"])
        return told

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            told: dict[str, Any] = json.loads(line)
            if told.keys() == {"connections"}:
                self.connections = told["connections"]
            else:
                await self._said.put(told)
        await self._said.put(None)


@asynccontextmanager
async def workers(number: int) -> AsyncIterator[list[Worker]]:
    """So many processes."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Worker.started()) for _ in range(number)]


async def hear_all(processes: list[Worker]) -> list[dict[str, Any]]:
    """What each says next. Raises Failure as soon as one has failed."""
    return await asyncio.gather(*(each.hear() for each in processes))
