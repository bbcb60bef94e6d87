"""The workload `connect`: connections with authentication and welcome, as many as the servers manage.

In a closed loop `window` users connect at a time, and each leaves when it is in, to come again; with `window` as large
as `users` it is a storm: all at once, and what counts is how long until the last is in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from tools.bench.accounts.samples import Samples
from tools.bench.load.crowd import Crowd
from tools.bench.load.idle import IdleUser
from tools.bench.plan import Share
from tools.bench.users.scan import scanner
from tools.bench.users.wires import wire_of
from tools.cli.failure import Failure

BACK_OFF_S = 0.2


class ConnectRun(Crowd[IdleUser]):
    """The share of one process."""

    def __init__(self, share: Share, name: str) -> None:
        super().__init__()
        self.share = share
        self.connected = Samples()
        self._at_once = max(1, share.plan.window * len(share.tokens) // share.plan.users)
        self._took_s = 0.0
        self._storm = share.plan.window >= share.plan.users
        for index, token in enumerate(share.tokens):
            wire = wire_of(share.plan, index)
            self.users.append(IdleUser(self, *token, wire, scanner(wire.codec, name), share.source))

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        yield
        for user in self.users:
            user.close()

    def lose(self, user: object) -> None:
        """The user left."""

    async def measure(self, start: float) -> None:
        plan, samples = self.share.plan, self.connected
        samples.begin, samples.end = start + plan.warmup_s, start + plan.warmup_s + plan.seconds
        if self._storm:
            samples.begin, samples.end = start, start + 1e9
        waiting = iter(self.users) if self._storm else _forever(self.users)
        await asyncio.sleep(max(0.0, start - time.monotonic()))

        async def keep_connecting(number: int) -> None:
            for user in waiting:
                await self._connect(user, self.share.urls[number % len(self.share.urls)])
                if not self._storm and time.monotonic() >= samples.end:
                    return

        async with asyncio.TaskGroup() as tasks:
            for number in range(self._at_once):
                tasks.create_task(keep_connecting(number))
        self._took_s = time.monotonic() - start

    async def settle(self) -> dict[str, Any]:
        told: dict[str, Any] = {"connected": self.connected.told()}
        return {**told, "elapsed_s": self._took_s} if self._storm else told

    async def _connect(self, user: IdleUser, url: str) -> None:
        """Until it is in: one that is turned away tries again, and its time runs on."""
        due = time.monotonic()
        while True:
            try:
                await user.open(url)
                break
            except Failure:
                self.count_error("TURNED_AWAY")
                await asyncio.sleep(BACK_OFF_S)
        self.connected.add(due, time.monotonic())
        if not self._storm:
            user.leave()


def _forever(users: list[IdleUser]) -> Iterator[IdleUser]:
    while True:
        yield from users
