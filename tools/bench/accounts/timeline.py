"""What a long run looked like from second to second: connections, processor time and memory by kind of process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tools.bench.accounts.processor import MIB, memory_of, seconds_of

EVERY_S = 5.0


@dataclass(slots=True)
class Timeline:
    """`processes` by name; `connections` tells how many are open."""

    processes: Mapping[str, int]
    connections: Callable[[], int]
    points: list[dict[str, Any]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _used: Mapping[str, float] = field(default_factory=dict)
    _at: float = 0.0  # when they had used so much

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """A point is added every few seconds inside."""
        keeping = asyncio.create_task(self._keep(), name="timeline")
        try:
            yield
        finally:
            keeping.cancel()

    async def _keep(self) -> None:
        self._used, self._at = kinds_of(seconds_of(self.processes)), time.monotonic()
        while True:
            await asyncio.sleep(EVERY_S)
            self.points.append(self._point())

    def _point(self) -> dict[str, Any]:
        """Processor time is the share of a core since the point before."""
        used, now = kinds_of(seconds_of(self.processes)), time.monotonic()
        gone_s = now - self._at
        cpu = {kind: round(100 * (used[kind] - self._used.get(kind, 0.0)) / gone_s, 1) for kind in used}
        self._used, self._at = used, now
        memory = {kind: round(size / MIB) for kind, size in kinds_of(memory_of(self.processes)).items()}
        at_s = round(now - self._began, 1)
        return {"at_s": at_s, "connections": self.connections(), "cpu_percent": cpu, "memory_mb": memory}


def kinds_of(values: Mapping[str, float]) -> dict[str, float]:
    """The sums of access-0, access-1 … by their kind."""
    sums: dict[str, float] = {}
    for name, value in values.items():
        kind = name.partition("-")[0]
        sums[kind] = sums.get(kind, 0) + value
    return sums
