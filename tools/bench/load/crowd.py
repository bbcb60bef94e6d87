"""The users of one process of the load generator: opened together, kept alive, mended when their lines break."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from tidings_protocol import client_pb2 as pb
from tools.bench.accounts.ledger import Tally
from tools.bench.plan import USERS_MAX
from tools.bench.users.user import User
from tools.cli.failure import Failure

OPENING_AT_ONCE = 100
REFRESH_S = 0.2
SLICES = 20  # acknowledgements of all users at once would delay what is measured
RETRY_S = 0.2
POLL_S = 0.1

UserT = TypeVar("UserT", bound=User)


class Crowd(Generic[UserT]):
    """`users` is filled by the workload before `opened`."""

    def __init__(self, refresh_s: float = REFRESH_S) -> None:
        self._refresh_s = refresh_s
        self.users: list[UserT] = []
        self.tally = Tally()
        self._failure: Failure | None = None  # of a callback, which has nobody to raise it to
        self._broken: asyncio.Queue[User] = asyncio.Queue(USERS_MAX)  # each is in it at most once
        self._lagging: set[User] = set()

    # ---- what users tell

    def count_error(self, code: str) -> None:
        self.tally.errors[code] = self.tally.errors.get(code, 0) + 1

    def refuse(self, user: User, error: pb.Error) -> None:
        self._failure = Failure(f"{user.name} was refused: {error.message} ({error.code}).")

    def lag(self, user: User) -> None:
        self._lagging.add(user)

    def lose(self, user: User) -> None:
        self._broken.put_nowait(user)

    # ---- for the workload

    @asynccontextmanager
    async def opened(self, urls: Sequence[str]) -> AsyncIterator[None]:
        """All lines are open inside. Raises Failure."""
        gate = asyncio.Semaphore(OPENING_AT_ONCE)

        async def open_one(index: int, user: User) -> None:
            async with gate:
                await user.open(urls[index % len(urls)])

        async with asyncio.TaskGroup() as tasks:
            upkeep = [tasks.create_task(self._refresh()), tasks.create_task(self._mend())]
            try:
                async with asyncio.TaskGroup() as opening:
                    for index, user in enumerate(self.users):
                        opening.create_task(open_one(index, user))
                yield
            finally:
                for task in upkeep:
                    task.cancel()
                for user in self.users:
                    user.close()

    async def _refresh(self) -> None:
        part = 0
        while True:
            await asyncio.sleep(self._refresh_s / SLICES)
            if self._failure is not None:
                raise self._failure
            now = time.monotonic()
            for user in self.users[part::SLICES]:
                user.refresh(now)
            part = (part + 1) % SLICES
            while self._lagging:
                self.tally.repaired_by_sync += await self._synced(self._lagging.pop())

    async def _synced(self, user: User) -> int:
        try:
            return await user.sync()
        except (Failure, TimeoutError):
            self._lagging.add(user)
            return 0

    async def _mend(self) -> None:
        """Lines that broke are opened again."""
        while True:
            user = await self._broken.get()
            self.tally.reconnects += 1
            try:
                await user.reopen()
            except (Failure, TimeoutError):
                await asyncio.sleep(RETRY_S)
                self._broken.put_nowait(user)


async def until(holds: Callable[[], bool], limit_s: float) -> None:
    """Or until the time is over."""
    end = time.monotonic() + limit_s
    while not holds() and time.monotonic() < end:  # noqa: ASYNC110  # looking is cheap, and nothing else tells
        await asyncio.sleep(POLL_S)
