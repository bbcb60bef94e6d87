"""How the process itself is doing: lag of its event loop, pauses of its garbage collector.

Does not know: what the process does. CPU, memory and file descriptors come from the Prometheus library itself.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path

from services.common.telemetry import metrics

LAG_INTERVAL_S = 0.25


async def watch_event_loop(interval_s: float = LAG_INTERVAL_S) -> None:
    """Measures for ever how much later than asked the event loop wakes a task: what every client waits on top."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_s
        await asyncio.sleep(interval_s)
        lag_s = max(0.0, loop.time() - due)
        metrics.EVENT_LOOP_LAG.observe(lag_s)
        metrics.EVENT_LOOP_LAG_LAST.set(lag_s)


def held() -> dict[str, int]:
    """What the process has of the system, for /debug/state. Descriptors: without the one that counting them takes."""
    descriptors = sum(1 for _ in Path("/dev/fd").iterdir()) - 1
    return {"descriptors": descriptors, "threads": threading.active_count()}


def watch_garbage_collection() -> Callable[[], None]:
    """Measures each pause of the collector until the function that it returns is called."""
    begun = 0.0

    def observe(phase: str, info: dict[str, int]) -> None:
        nonlocal begun
        if phase == "start":
            begun = time.perf_counter()
        else:
            metrics.GC_PAUSE.labels(str(info["generation"])).observe(time.perf_counter() - begun)

    gc.callbacks.append(observe)

    def stop() -> None:
        if observe in gc.callbacks:
            gc.callbacks.remove(observe)

    return stop
