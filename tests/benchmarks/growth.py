"""What a message costs in a cluster of 50 times the size: `python -m tests.benchmarks.growth [--page FILE.md]`.

On a cluster of its own, removed after it: access nodes 1 and 4, users 2,000 and 100,000, stored messages 10 thousand
and 5 million. Each is one closed loop of direct messages; what is told is the CPU of the whole cluster per message, and
its ratio. Users who are not connected have their messages and inboxes in MongoDB, written in bulk by the storage nodes'
own repository. The fill is scaled by --scale where time is short, and the page says so.

It stands here and not in `tidings bench`, because the tools import no service.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.clock import SystemClock
from services.storage.repository.contract import Repository
from services.storage.repository.mongo.connection import connected
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from services.storage.repository.records import InboxEntry, StoredMessage
from tidings_protocol.ids import direct
from tools.bench.plan import Plan
from tools.bench.run import run
from tools.cli.target import find
from tools.make.pages.performance import put

DATA = Path("build/growth-cluster")
RESULTS = Path("build/growth.json")
PROGRAM = (sys.executable, "-m", "tools.cli.main")
LOADED = 200  # users that are connected and write
BATCH = 2000
WRITERS = 4
FEW_MESSAGES, MANY_MESSAGES = 10_000, 5_000_000
FEW_USERS, MANY_USERS = 2000, 100_000
TIME_MS = 1_790_000_000_000


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    access: int = 1
    users: int = FEW_USERS
    messages: int = FEW_MESSAGES


CASES = (
    Case("base"),
    Case("4 access nodes instead of 1", access=4),
    Case("100,000 users instead of 2,000", users=MANY_USERS, messages=MANY_USERS * 5),
    Case("5 million stored messages instead of 10 thousand", users=MANY_USERS, messages=MANY_MESSAGES),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="write the table between its marks")
    parser.add_argument("--port-base", type=int, default=18_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--scale", type=float, default=1.0, help="of what is filled in, for a first look")
    parser.add_argument("--repeats", type=int, default=2, help="of each load; the cheapest counts")
    parser.add_argument("--again", action="store_true", help="measure nothing: write the table of the last run")
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if arguments.again else _measured(arguments)
    sys.stdout.write(table(results))
    if arguments.page:
        arguments.page.write_text(put(arguments.page.read_text(), {"growth": table(results)}))
    return 0 if all(case["right"] for case in results["cases"]) else 1


def _measured(arguments: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {"scale": arguments.scale, "cases": []}
    filled = 0
    for case in CASES:
        with _cluster(case, arguments.port_base) as uri:
            began = time.monotonic()
            wanted = int(case.messages * arguments.scale)
            if wanted > filled:
                asyncio.run(fill(uri, filled, wanted, int(case.users * arguments.scale)))
                filled = wanted
            filled_s = time.monotonic() - began
            told = _cheapest([_load(arguments.seconds) for _ in range(arguments.repeats)])
        results["cases"].append({"name": case.name, "filled": filled, "filled_s": round(filled_s, 1), **told})
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    _tidings("down", "--purge")
    return results


async def fill(uri: str, first: int, end: int, users: int) -> None:
    """Messages `first` to `end` of the history of so many users, each in five direct chats, with their inboxes."""
    clock = SystemClock()
    async with connected(uri, "tidings", clock, timeout_s=60, connections_max=16, name="growth") as connection:
        await ensure_schema(connection)
        repository = mongo_repository(connection)
        batches = iter(range(first, end, BATCH))

        async def write() -> None:
            for start in batches:
                await _write(repository, range(start, min(start + BATCH, end)), users)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(write())


async def _write(repository: Repository, numbers: range, users: int) -> None:
    messages, entries = [], []
    chats = max(1, users * 5 // 2)
    for number in numbers:
        chat, seq = number % chats, number // chats + 1
        sender, other = f"past-{chat % users}", f"past-{(chat % users + 1 + chat // users) % users}"
        conversation = direct(sender, other)
        messages.append(StoredMessage(conversation, seq, sender, f"{number:024x}", TIME_MS + number, os.urandom(128)))
        entries.append(InboxEntry(other, number + 1, conversation, seq, TIME_MS + number))
    await repository.messages.insert(messages)
    await repository.inboxes.insert(entries)


def table(results: Mapping[str, Any]) -> str:
    """CPU per message of each case, and its ratio to the first; also in units of what the load generator took for the
    same message, since the machine's own speed changes from minute to minute."""
    base = results["cases"][0]
    titles = ["cluster", "stored messages", "messages a second", "CPU of the cluster per 1,000", "ratio"]
    titles += ["load generator per 1,000", "ratio of cluster to generator"]
    lines = [f"| {' | '.join(titles)} |", f"| --- |{' ---: |' * (len(titles) - 1)}"]
    for case in results["cases"]:
        ratio = case["cluster"] / base["cluster"]
        generator = case["cpu_s_per_1000"]["load generator"]
        adjusted = ratio / (generator / base["cpu_s_per_1000"]["load generator"])
        lines.append(
            f"| {case['name']} | {case['filled']:,} | {case['per_s']:,.0f} | {case['cluster']:.3f} s | {ratio:.2f} "
            f"| {generator:.4f} s | {adjusted:.2f} |"
        )
    if results["scale"] != 1:
        lines += ["", f"Filled to {results['scale']:.0%} of the numbers named, for want of time."]
    return "\n".join(lines) + "\n"


def _load(seconds: float) -> dict[str, Any]:
    plan = Plan("direct", LOADED, 4, seconds, None, 3.0, 128, 1, "ws")
    report = run(plan, find(DATA))
    return {
        "per_s": report["delivered"]["per_s"],
        "right": report["right"],
        "cluster": report["cpu_s_per_1000"]["cluster"],
        "cpu_s_per_1000": report["cpu_s_per_1000"],
    }


def _cheapest(loads: list[dict[str, Any]]) -> dict[str, Any]:
    """The others were disturbed."""
    return {**min(loads, key=lambda told: told["cluster"]), "right": all(told["right"] for told in loads)}


@contextmanager
def _cluster(case: Case, port_base: int) -> Iterator[str]:
    """The cluster of the case, on the data of the one before; the address of its MongoDB."""
    _tidings("up", "--access", str(case.access), "--port-base", str(port_base), "--detach")
    try:
        snapshot = find(DATA).snapshot
        assert snapshot is not None
        yield str(snapshot["endpoints"]["mongodb"])
    except BaseException:
        _tidings("down", "--purge")
        raise
    _tidings("down")


def _tidings(*arguments: str) -> None:
    subprocess.run((*PROGRAM, *arguments, "--data", str(DATA)), check=True, timeout=300, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
