"""The workload `idle`: connections that say no more than their heartbeat. What counts is what they cost the servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tools.bench.load.crowd import Crowd
from tools.bench.plan import Share
from tools.bench.users.scan import Entry, scanner
from tools.bench.users.user import User
from tools.bench.users.wires import wire_of

LOOKING_S = 2.0  # how often each user is asked whether it is time for its heartbeat
EARLY_S = 3.0  # a heartbeat goes out so long before it is late


class IdleUser(User):
    async def greet(self, url: str) -> None:
        welcome = await self.open(url)
        self.heartbeat_s = max(1.0, welcome.heartbeat_s - EARLY_S)

    def on_entries(self, entries: Sequence[Entry], now: float | None) -> int:
        del entries, now
        return 0


class IdleRun(Crowd[IdleUser]):
    """The share of one process."""

    def __init__(self, share: Share, name: str) -> None:
        super().__init__(refresh_s=LOOKING_S)
        self.share = share
        for index, token in enumerate(share.tokens):
            wire = wire_of(share.plan, index)
            self.users.append(IdleUser(self, *token, wire, scanner(wire.codec, name), share.source))

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        async with self.opened(self.share.urls):
            yield

    async def measure(self, start: float) -> None:
        plan = self.share.plan
        await asyncio.sleep(max(0.0, start + plan.warmup_s + plan.seconds - time.monotonic()))

    async def settle(self) -> dict[str, Any]:
        return {"counts": {"connections": len(self.users)}}
