"""A flood, as its conductor sees it: processes that send, and what they tell of each stretch of time.

Does not know: what a peer does (flood.py), what is too much.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.support.cluster.stack import Stack
from tests.support.load.load import Crew, start_crew

PROCESSES = 2
SIZE_BYTES = 128
TELL_S = 1.0
FINISH_S = 120.0


@dataclass(slots=True)
class Stretch:
    """What came of the sends in a stretch of time; times in milliseconds, of each second for itself as well."""

    seconds: float = 0.0
    sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    refused_at: float = 0.0
    acknowledged_ms: array[float] = field(default_factory=lambda: array("d"))
    arrived_ms: array[float] = field(default_factory=lambda: array("d"))
    refused_ms: array[float] = field(default_factory=lambda: array("d"))
    retry_ms: array[float] = field(default_factory=lambda: array("d"))

    def add(self, told: dict[str, Any]) -> None:
        self.sent += told["sent"]
        self.refused.update(told["refused"])
        self.refused_at = max(self.refused_at, told["refused_at"])
        for name in ("acknowledged_ms", "arrived_ms", "refused_ms", "retry_ms"):
            getattr(self, name).extend(told[name])

    @property
    def accepted_per_s(self) -> float:
        return len(self.acknowledged_ms) / self.seconds if self.seconds else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 1),
            "sent_per_s": round(self.sent / self.seconds),
            "accepted_per_s": round(self.accepted_per_s),
            "refused": dict(self.refused),
            **{
                f"{name}_p{share}_ms": round(quantile(values, share / 100))
                for name, values in (
                    ("acknowledged", self.acknowledged_ms),
                    ("arrived", self.arrived_ms),
                    ("refused", self.refused_ms),
                )
                for share in (50, 99)
            },
            "retry_after_ms": [round(min(self.retry_ms)), round(max(self.retry_ms))] if self.retry_ms else [],
        }


@dataclass(slots=True)
class Flood:
    crews: Sequence[Crew]

    async def window(self, each: int, seconds: float) -> Stretch:
        """A closed loop: every user has so many sends without an answer."""
        await self._all("window", window=each)
        return await self._watch(seconds)

    async def rate(self, per_s: float, seconds: float) -> Stretch:
        """An open loop: so many sends a second, whatever the answers are."""
        await self._all("rate", rate=per_s / len(self.crews))
        return await self._watch(seconds)

    async def finish(self) -> dict[str, int]:
        """Silence; then the account of every message."""
        told = await self._all("finish", timeout_s=FINISH_S)
        total: Counter[str] = Counter()
        for answer in told:
            total.update(answer["account"])
        await self._all("quit")
        return dict(total)

    async def _watch(self, seconds: float) -> Stretch:
        loop = asyncio.get_running_loop()
        await self._all("span")  # what was before is not of this stretch
        stretch, began = Stretch(), loop.time()
        while (left := began + seconds - loop.time()) > 0:
            await asyncio.sleep(min(TELL_S, left))
            for answer in await self._all("span"):
                stretch.add(answer["span"])
        stretch.seconds = loop.time() - began
        return stretch

    async def _all(self, what: str, **details: Any) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(crew.order(what, **details) for crew in self.crews)))


@asynccontextmanager
async def flood_on(stack: Stack, users: Sequence[str], *, name: str, folder: Path) -> AsyncIterator[Flood]:
    """All are connected. Leaving ends the processes."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    started: list[Crew] = []
    async with asyncio.TaskGroup() as group:
        try:
            for share in range(PROCESSES):
                crew = await start_crew("tests.chaos.load.flood", folder / f"flood-{share}.jsonl")
                started.append(crew)
                group.create_task(crew.listen(), name=f"flood {share}")
                pairs = [users[number : number + 2] for number in range(0, len(users), 2)][share::PROCESSES]
                task = {
                    "name": name,
                    "urls": stack.tcp_urls(),
                    "tokens": [(user, stack.token(user)) for pair in pairs for user in pair],
                    "size_bytes": SIZE_BYTES,
                }
                assert crew.process.stdin is not None
                crew.process.stdin.write(msgspec.json.encode(task) + b"\n")
            for crew in started:
                await crew.order("connect")
            yield Flood(started)
        finally:
            for crew in started:
                await crew.end()


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
