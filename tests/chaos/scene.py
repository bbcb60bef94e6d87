"""What a case is given to work on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.cluster.stack import Stack
from tests.support.histories.record import Event
from tests.support.load.load import Load


@dataclass(slots=True)
class Scene:
    """Where a case acts, and what it has to tell beside the usual.

    `run`: begins the name of every user of this run; `folder`: for histories.
    `lasting_s`: how long the cases that last do so (0: each as it has it itself).
    `mended_at`: the moment from which the cluster has to heal. `windows`: spans of time whose latencies (of the load)
    are to be told. `events`: histories of clients of its own, which are judged too. `details`: figures.
    """

    stack: Stack
    load: Load
    rng: random.Random
    run: str
    folder: Path
    say: Callable[[str], None]
    lasting_s: float = 0.0
    mended_at: float = field(default_factory=time.monotonic)
    windows: dict[str, tuple[float, float]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    healthy_s: float | None = None

    def seconds(self, usual: float) -> float:
        """How long to go on."""
        return self.lasting_s or usual

    def mended(self) -> None:
        self.mended_at = time.monotonic()

    async def until_healthy(self) -> None:
        """How long that took since the mending is noted, for a case that goes on after it."""
        await self.stack.until_healthy()
        self.healthy_s = time.monotonic() - self.mended_at

    @asynccontextmanager
    async def window(self, name: str, at_least_s: float = 0.0) -> AsyncIterator[None]:
        """The latencies of what is sent while it is open are told under this name."""
        began = time.monotonic()
        yield
        await asyncio.sleep(max(0.0, at_least_s - (time.monotonic() - began)))
        self.windows[name] = (began, time.monotonic())


Act = Callable[[Scene], Awaitable[None]]
