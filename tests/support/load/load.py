"""The load of one run, as its conductor sees it: processes of clients that are told what to do, and their histories.

    async with Load.over(stack, population, seed=1, folder=folder) as load:
        await load.begin(rate=200)
        ...                                   # break something, mend it
        events = await load.end()

Does not know: what clients do (worker.py), what is wrong with what they saw (verdict.py).
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tests.support.histories import record
from tests.support.load.population import Population

SET_UP_S = 60.0
LINE_BYTES_MAX = 2**26


class Place(Protocol):
    """Where clients go and who they may be: a local stack, or a cluster anywhere.

    `via`: the beginning of the command lines that run where clients can reach it; empty: here.
    """

    @property
    def via(self) -> Sequence[str]: ...
    @property
    def secret(self) -> str: ...
    @property
    def audience(self) -> str: ...
    def ws_urls(self) -> list[str]: ...
    def tcp_urls(self) -> list[str]: ...
    def token(self, user: str) -> str: ...


class Stuck(Exception):
    """The clients could not do what they were told in time: what they wait for says why."""


@dataclass(slots=True)
class Crew:
    """One process of clients."""

    process: Process
    history: Path
    progress: dict[str, int] = field(default_factory=dict)
    answers: asyncio.Queue[dict[str, Any]] = field(default_factory=lambda: asyncio.Queue(16))

    async def listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            said = msgspec.json.decode(line)
            if "progress" in said:
                self.progress = said["progress"]
            else:
                await self.answers.put(said)
        await self.answers.put({"gone": True})

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def order(self, what: str, *, timeout_s: float = SET_UP_S, **details: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode({"do": what, "timeout_s": timeout_s, **details}) + b"\n")
        await self.process.stdin.drain()
        async with asyncio.timeout(2 * timeout_s + 60):
            answer = await self.answers.get()
        if "gone" in answer:
            raise Stuck(f"the clients' process ended: see {self.history.with_suffix('.log')}")
        return answer


@dataclass(slots=True)
class Load:
    population: Population
    crews: Sequence[Crew]
    folder: Path
    rate: float = 0.0
    groups: dict[str, str] = field(default_factory=dict)

    @property
    def progress(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for crew in self.crews:
            for name, number in crew.progress.items():
                total[name] = total.get(name, 0) + number
        return total

    async def begin(self, rate: float, *, restless: bool = True) -> None:
        """Everyone is connected, the groups are made and known to all; from now on they talk."""
        connected = await self._all("connect")
        if not all(answer["online"] for answer in connected):
            raise Stuck(f"not all clients could connect within {SET_UP_S:g} s: {_waiting(connected)}")
        for answer in await self._all("groups"):
            self.groups |= answer["groups"]
        await self._all("join", groups=self.groups)
        await self.talk(rate, restless=restless)

    async def talk(self, rate: float, *, restless: bool = True) -> None:
        self.rate = rate
        await self._all("rate", rate=rate / len(self.crews), restless=restless)

    async def end(self, timeout_s: float = 120.0) -> list[record.Event]:
        """Silence; every send has its outcome, every device what is its own; then all histories.

        Raises Stuck when clients cannot read what is stored. What a device never got is for the verdict to say.
        """
        rested = await self._all("rest", timeout_s=timeout_s)
        if not all(answer["settled"] for answer in rested):
            waiting = f"{self.progress['open']} sends without an outcome, {_waiting(rested)}"
            raise Stuck(f"after {timeout_s:g} s of silence clients are not settled: {waiting}")
        finished = await self._all("finish", timeout_s=timeout_s)
        if unread := [name for answer in finished for name in answer["unread"]]:
            raise Stuck(f"could not be read in the end: {unread[:5]}")
        await self._all("quit")
        return sorted(await asyncio.to_thread(self._histories), key=lambda event: getattr(event, "at", 1e18))

    def _histories(self) -> list[record.Event]:
        return [event for crew in self.crews for event in record.read(crew.history)]

    async def _all(self, what: str, **details: Any) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(crew.order(what, **details) for crew in self.crews)))


@asynccontextmanager
async def load_on(place: Place, people: Population, *, seed: int, folder: Path, crews: int = 1) -> AsyncIterator[Load]:
    """Processes of clients that wait for `begin`; leaving ends them, whatever they do."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    tokens = {user: place.token(user) for user in people.users}
    task = {
        "population": people.to_json(),
        "shares": crews,
        "ws": place.ws_urls(),
        "tcp": place.tcp_urls(),
        "tokens": tokens,
        "seed": seed,
    }
    started: list[Crew] = []
    async with asyncio.TaskGroup() as group:
        try:
            for share in range(crews):
                crew = await start_crew("tests.support.load.worker", folder / f"clients-{share}.jsonl", place.via)
                started.append(crew)
                group.create_task(crew.listen(), name=f"crew {share}")
                assert crew.process.stdin is not None
                first = {**task, "share": share, "history": str(crew.history)}
                crew.process.stdin.write(msgspec.json.encode(first) + b"\n")
            yield Load(people, started, folder)
        finally:
            for crew in started:
                await crew.end()


def _waiting(answers: Sequence[dict[str, Any]]) -> str:
    offline = [name for answer in answers for name in answer["waiting"]]
    return f"offline {', '.join(offline[:5])}" if offline else "all online"


async def start_crew(module: str, history: Path, via: Sequence[str] = ()) -> Crew:
    with history.with_suffix(".log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            *via, sys.executable, "-m", module, stdin=PIPE, stdout=PIPE, stderr=log, limit=LINE_BYTES_MAX
        )
    return Crew(process, history)
