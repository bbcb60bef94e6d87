"""One process of the load generator: `python -m tools.bench.worker`, spoken to by lines on standard input and output.

    in   the share, as JSON          out  {"ready": true}        all users are connected
    in   the start time              out  the figures, as JSON   (or {"failure": …} at any time)

Times are of the machine's monotonic clock, which its processes share.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import sys
from typing import Any

import uvloop

from tools.bench.direct import DirectRun
from tools.bench.plan import Plan, Share
from tools.failure import Failure


def main() -> None:
    told = json.loads(sys.stdin.readline())
    share = Share(Plan(**told["plan"]), told["urls"], [(user, token) for user, token in told["tokens"]], told["rate"])
    try:
        _put(uvloop.run(_work(share, told["name"])))
    except Failure as failure:
        _put({"failure": str(failure)})
    except BaseExceptionGroup as several:
        failures, others = several.split(Failure)
        if others is not None or failures is None:
            raise
        _put({"failure": str(_first(failures))})


async def _work(share: Share, name: str) -> dict[str, Any]:
    run = DirectRun(share, name)
    async with run.ready():
        gc.collect()
        gc.freeze()
        gc.disable()  # nothing in the loops makes cycles, and a pause would count as latency
        _put({"ready": True})
        start = float(await asyncio.to_thread(sys.stdin.readline))
        figures = await run.run(start)
    return {"pid": os.getpid(), "tally": dataclasses.asdict(run.tally), **figures}


def _put(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _first(group: BaseExceptionGroup[Failure]) -> Failure:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    main()
