"""What a case on Kubernetes is given to work on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.k8s.place.machines import Machines
from tests.k8s.place.site import Site
from tests.support.histories.record import Event
from tests.support.load.crowd_load import Crowd, crowd_on
from tests.support.load.load import Crew, Load

CROWD, TALKERS, TALK_PER_S = 500, 60, 20.0
SILENT_S = 120.0
SAID_EVERY_S = 1.0  # its progress comes twice as often


@dataclass(slots=True)
class Scene:
    """`run` begins the name of every user of this run; `machines`: None where they cannot be broken.

    `mended_at`: from then on the cluster has to heal. `events`: histories of clients of its own, which are judged too.
    `details`: figures.
    """

    site: Site
    load: Load
    run: str
    folder: Path
    say: Callable[[str], None]
    machines: Machines | None
    mended_at: float = field(default_factory=time.monotonic)
    healthy_s: float | None = None
    events: list[Event] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def mended(self) -> None:
        self.mended_at, self.healthy_s = time.monotonic(), None

    async def until_healthy(self) -> None:
        await self.site.until_healthy()
        self.healthy_s = time.monotonic() - self.mended_at

    @asynccontextmanager
    async def crowd(self, count: int = CROWD) -> AsyncIterator[Crowd]:
        """So many connected clients, some of whom talk; in the end all are judged with the rest."""
        users = [f"{self.run}.c{number}" for number in range(count)]
        load = crowd_on(self.site, users, talkers=min(TALKERS, count), seed=1, folder=self.folder)
        async with load as crowd, hanging_up([crowd.crew]):
            self.say(f"{count} clients connect")
            await crowd.begin(count)
            await crowd.talk(TALK_PER_S)
            yield crowd
            await crowd.until_online()
            await _until_silent(crowd)
            self.details["crowd"] = asdict(await crowd.movement())
            self.events += await crowd.end()


async def _until_silent(crowd: Crowd) -> None:
    """Every send has its outcome. The end asks each device's node once for the newest number of its inbox: asked before
    that, on a machine that is slow, a device takes itself for up to date before the last message is stored.
    """
    await crowd.talk(0.0)
    async with asyncio.timeout(SILENT_S):
        while True:
            await asyncio.sleep(SAID_EVERY_S)
            if not crowd.progress["open"]:
                return


@asynccontextmanager
async def hanging_up(crews: Sequence[Crew]) -> AsyncIterator[None]:
    """In the end, also of a case that fails, nobody gives them orders, which ends them.

    Where clients run elsewhere, killing the command that runs them there does not reach them.
    """
    try:
        yield
    finally:
        for crew in crews:
            if crew.process.stdin is not None:
                crew.process.stdin.close()


Act = Callable[[Scene], Awaitable[None]]
