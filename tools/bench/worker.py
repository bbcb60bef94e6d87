"""One process of the load generator: `python -m tools.bench.worker`, spoken to by lines on standard input and output.

    in   the share, as JSON          out  {"ready": true}        all users are connected
                                     out  {"connections": 17}    that are open (a crowd, every second)
    in   the start time              out  {"measured": true}     the measurement is over
                                     out  the figures, as JSON   (or {"failure": …} at any time)

Times are of the machine's monotonic clock, which its processes share.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import importlib
import json
import os
import resource
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import uvloop

from tools.bench.accounts.ledger import Tally
from tools.bench.plan import Plan, Share
from tools.bench.spoken import say
from tools.cli.failure import Failure

KINDS = {
    "connect": ("connecting", "ConnectRun"),
    "crowd": ("crowding", "CrowdRun"),
    "direct": ("direct", "DirectRun"),
    "group": ("group", "GroupRun"),
    "history": ("reading", "HistoryRun"),
    "idle": ("idle", "IdleRun"),
    "mixed": ("mixed", "MixedRun"),
    "signals": ("signalling", "SignalsRun"),
    "sync": ("reading", "SyncRun"),
}
GARBAGE_AFTER = 100_000  # hardly anything makes cycles here, and a pause would count as latency


class Run(Protocol):
    """What a workload is."""

    tally: Tally

    def ready(self) -> AbstractAsyncContextManager[None]:
        """All is prepared within."""

    async def measure(self, start: float) -> None:
        """Measures from `start` (monotonic) to the end of the measurement."""

    async def settle(self) -> dict[str, Any]:
        """Waits until all is accounted for; gives samples by name, `counts`, `elapsed_s` if it is not the plan's."""


def main() -> None:
    told = json.loads(sys.stdin.readline())
    share = Share(
        Plan(**told["plan"]), told["urls"], [(user, token) for user, token in told["tokens"]], told["rate"],
        told["source"], told["homes"],
    )  # fmt: skip
    _open_files()
    try:
        say(uvloop.run(_work(share, told["name"])))
    except Failure as failure:
        say({"failure": str(failure)})
    except BaseExceptionGroup as several:
        failures, others = several.split(Failure)
        if others is not None or failures is None:
            raise
        say({"failure": str(_first(failures))})


async def _work(share: Share, name: str) -> dict[str, Any]:
    run = _kind(share.plan.workload)(share, name)
    async with run.ready():
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_AFTER)
        say({"ready": True})
        start = float(await asyncio.to_thread(sys.stdin.readline))
        await run.measure(start)
        say({"measured": True})
        figures = await run.settle()
    return {"pid": os.getpid(), "tally": dataclasses.asdict(run.tally), **figures}


def _kind(workload: str) -> Callable[[Share, str], Run]:
    module, name = KINDS[workload]
    kind: Callable[[Share, str], Run] = getattr(importlib.import_module(f"tools.bench.load.{module}"), name)
    return kind


def _open_files() -> None:
    """Lets this process open as many files as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _first(group: BaseExceptionGroup[Failure]) -> Failure:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    main()
