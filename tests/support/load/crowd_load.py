"""A crowd of bare devices, as its conductor sees it: a process of thousands of connections, and what they tell.

Does not know: what a device does (bare.py), what is wrong with what they saw (verdict.py).
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.support.histories import record
from tests.support.load.load import Crew, Place, Stuck, start_crew
from tidings_protocol.ids import slot_of

ARRIVE_PER_S = 250.0
BACK_S = 180.0


@dataclass(frozen=True, slots=True)
class Movement:
    """What a crowd went through: how fast it came back, and whether anyone pushed.

    `peak_per_s`: the most sessions that began on one node within one second of the clock.
    """

    welcomes: int
    peak_per_s: int
    attempts_peak_per_s: int
    refused: int
    lost: int
    synced: int
    goodbyes: Mapping[str, int]
    back_p50_s: float
    back_max_s: float
    hello_p50_s: float
    nodes: Mapping[str, int]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Movement:
        begun = Counter(
            {(node, second): count for node, counts in told["welcomes"].items() for second, count in counts}
        )
        back, hello = told["back_after"] or [0.0], told["round_trips"] or [0.0]
        return cls(
            welcomes=begun.total(),
            peak_per_s=max(begun.values(), default=0),
            attempts_peak_per_s=max((count for _, count in told["connects"]), default=0),
            refused=told["refused"],
            lost=told["lost"],
            synced=told["synced"],
            goodbyes=told["goodbyes"],
            back_p50_s=round(statistics.median(back), 2),
            back_max_s=round(max(back), 2),
            hello_p50_s=round(statistics.median(hello), 3),
            nodes=told["nodes"],
        )


@dataclass(slots=True)
class Crowd:
    crew: Crew

    async def begin(self, count: int) -> None:
        """Everyone is connected."""
        answer = await self.crew.order("connect", timeout_s=2 * count / ARRIVE_PER_S + 60)
        if not answer["online"]:
            raise Stuck(f"not everyone of the crowd could connect: {self.crew.progress}")
        await self.crew.order("fresh")

    async def talk(self, rate: float) -> None:
        await self.crew.order("rate", rate=rate)

    async def until_back(self, timeout_s: float = BACK_S) -> None:
        """Everyone has a session again, or is just moving from one node to another."""
        if not (await self.crew.order("back", timeout_s=timeout_s))["online"]:
            raise Stuck(f"after {timeout_s:g} s not everyone of the crowd is back: {self.crew.progress}")

    async def until_online(self, timeout_s: float = BACK_S) -> None:
        """Everyone has a session, a new one or the one from before."""
        if not (await self.crew.order("connect", timeout_s=timeout_s))["online"]:
            raise Stuck(f"after {timeout_s:g} s not everyone of the crowd is online: {self.crew.progress}")

    async def movement(self) -> Movement:
        """Since `begin`."""
        return Movement.of((await self.crew.order("tally"))["tally"])

    async def leave(self) -> None:
        """All are gone, whatever is under way."""
        await self.crew.order("quit")

    @property
    def progress(self) -> Mapping[str, int]:
        return self.crew.progress

    async def end(self, timeout_s: float = 180.0) -> list[record.Event]:
        """Silence; everyone has what is its own; then all histories. Raises Stuck."""
        finished = await self.crew.order("finish", timeout_s=timeout_s)
        if not finished["settled"]:
            raise Stuck(f"after {timeout_s:g} s of silence the crowd is not settled: {self.crew.progress}")
        if finished["unread"]:
            raise Stuck(f"could not be read in the end: {finished['unread'][:5]}")
        await self.crew.order("quit")
        return await asyncio.to_thread(lambda: list(record.read(self.crew.history)))


@asynccontextmanager
async def crowd_on(
    place: Place, users: Sequence[str], *, talkers: int, seed: int, folder: Path, prefix: str = "raw"
) -> AsyncIterator[Crowd]:
    """A process of these users' devices that connect at once, at a gentle rate. Leaving ends it."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    crew = await start_crew("tests.support.load.crowd", folder / "crowd.jsonl", place.via)
    task = {
        "users": list(users),
        "talkers": talkers,
        "tcp": [url.removeprefix("tcp://") for url in place.tcp_urls()],
        "secret": place.secret,
        "audience": place.audience,
        "seed": seed,
        "history": str(crew.history),
        "connects_per_s": ARRIVE_PER_S,
        "prefix": prefix,
    }
    async with asyncio.TaskGroup() as group:
        try:
            group.create_task(crew.listen(), name="crowd")
            assert crew.process.stdin is not None
            crew.process.stdin.write(msgspec.json.encode(task) + b"\n")
            yield Crowd(crew)
        finally:
            await crew.end()


def users_of(owners: Sequence[str], node: str, prefix: str, count: int) -> list[str]:
    """Names of users who belong to that node ("": to any); `owners` has the node of each slot."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        name = f"{prefix}{number}"
        number += 1
        if node in ("", owners[slot_of(name)]):
            found.append(name)
    return found
