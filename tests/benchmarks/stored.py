"""What it costs to have much stored: `python -m tests.benchmarks.stored [--messages N] [--page FILE.md]`.

Told are a send, a page, a login, the start of a storage node and a step of retention (stored_costs.py) beside 10
thousand stored messages and beside N (past.py), on a mongod of its own, and their ratios.

It may be stopped and started again; when it is done it removes its folder, unless it is told to keep it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from services.common.clock import SystemClock
from services.storage.app import SWITCH_INTERVAL_S
from services.storage.repository.mongo.connection import MongoConnection, connected
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from tests.benchmarks.past import EACH, Past, write
from tests.benchmarks.stored_costs import NAMES, costs_beside
from tests.support.cluster.mongod import Mongod
from tests.support.network.ports import free_port
from tools.make.pages.performance import put, table

FEW, MANY = 10_000, 5_000_000
WHOLE = 2 * EACH  # messages: all users have as many conversations then
FOLDER = Path("build/stored")
RESULTS = Path("build/stored.json")
STATE = "past.json"
TELL_S = 10.0
INTERRUPTED = 130


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=MANY, help="of the large past")
    parser.add_argument("--cache-gb", type=float, default=2.0, help="that mongod keeps in memory")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where mongod has its data")
    parser.add_argument("--keep", action="store_true", help="leave the folder for another run")
    parser.add_argument("--page", type=Path, help="write the table between its marks")
    parser.add_argument("--again", action="store_true", help="measure nothing: write the table of the last run")
    arguments = parser.parse_args()
    if arguments.messages < FEW or arguments.messages % WHOLE:
        parser.error(f"--messages is {FEW} or more, and a multiple of {WHOLE}")
    if not arguments.again:
        try:
            told = uvloop.run(measured(arguments))
        except KeyboardInterrupt:
            _note("Stopped: the same command goes on from here.")
            return INTERRUPTED
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(told, indent=1) + "\n")
    results = json.loads(RESULTS.read_text())
    sys.stdout.write(results_table(results))
    if arguments.page:
        arguments.page.write_text(put(arguments.page.read_text(), {"stored": results_table(results)}))
    return 0


async def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """The costs with few and with many messages, by their number."""
    few, many = Past(FEW), Past(arguments.messages)
    state = _state(arguments.folder)
    mongod = Mongod(arguments.folder, port=state["port"], cache_gb=arguments.cache_gb)
    results: dict[str, Any] = {"cache_gb": arguments.cache_gb, "pasts": []}
    await mongod.start()
    try:
        for past in (few, many):
            results["pasts"].append(await _filled(mongod, past, state, arguments.folder))
        await mongod.stop()
        await mongod.start()  # so that nothing is in its cache because it was written just now
        _note("measuring …")
        async with _connection(mongod, few) as small, _connection(mongod, many) as large:
            await small.ping()
            await large.ping()
            results["disk_gb"] = await _disk_gb(large)
            costs = await costs_beside([(few, small), (many, large)], mongod.pid)
        for told, cost in zip(results["pasts"], costs, strict=True):
            told["costs"] = cost
    finally:
        await mongod.stop()
    if not arguments.keep:
        shutil.rmtree(arguments.folder)
    return results


def _state(folder: Path) -> dict[str, Any]:
    """How far a run was that was stopped, and the port that its data know."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / STATE
    if not file.exists():
        file.write_text(json.dumps({"port": free_port(), "done": {}}))
    state: dict[str, Any] = json.loads(file.read_text())
    return state


# ---- the past


async def _filled(mongod: Mongod, past: Past, state: dict[str, Any], folder: Path) -> dict[str, Any]:
    began = told_at = time.monotonic()
    name = _database(past)
    first = state["done"].get(name, 0)
    async with _connection(mongod, past) as connection:
        await ensure_schema(connection)
        async for done in write(mongo_repository(connection), past, first):
            state["done"][name] = done
            (folder / STATE).write_text(json.dumps(state))
            now = time.monotonic()
            if now - told_at > TELL_S:
                told_at = now
                left_s = (now - began) / (done - first) * (past.conversations - done)
                _note(f"{done * EACH:,} of {past.messages:,} messages are written, {left_s:,.0f} s left")
    took_s = round(time.monotonic() - began, 1)
    _note(f"{past.messages:,} messages are there: {took_s:,.0f} s")
    return {
        "messages": past.messages,
        "conversations": past.conversations,
        "users": past.users,
        "filled_s": took_s if not first else None,
    }


async def _disk_gb(connection: MongoConnection) -> float:
    sizes = await connection.database.command("dbStats")
    return round((float(sizes["storageSize"]) + float(sizes["indexSize"])) / 1e9, 2)


def _database(past: Past) -> str:
    return f"past-{past.messages}"


@asynccontextmanager
async def _connection(mongod: Mongod, past: Past) -> AsyncIterator[MongoConnection]:
    async with connected(
        mongod.uri, _database(past), SystemClock(), timeout_s=120, connections_max=16, name="stored"
    ) as connection:
        yield connection


# ---- what is told


def results_table(results: Mapping[str, Any]) -> str:
    few, many = results["pasts"]
    titles = ["what, one at a time", *(f"beside {past['messages']:,} messages" for past in (few, many)), "ratio"]
    titles += ["CPU of it", "CPU", "ratio"]
    rows = []
    for name, shown in NAMES.items():
        before, after = few["costs"][name], many["costs"][name]
        row = [shown]
        for unit in ("ms", "cpu_ms"):
            row += [f"{before[unit]:.2f} ms", f"{after[unit]:.2f} ms", f"{after[unit] / max(before[unit], 1e-9):.2f}"]
        rows.append(row)
    words = (
        f"{many['messages']:,} messages in {many['conversations']:,} conversations of {many['users']:,} users, with "
        f"two inbox entries each: {results['disk_gb']:g} GB on disk, {results['cache_gb']:g} GB of cache."
    )
    return f"{words}\n\n{table(titles, rows)}"


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    sys.exit(main())
