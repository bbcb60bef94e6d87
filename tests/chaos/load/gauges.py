"""What the processes of a stack hold: memory, sampled while a case runs; and counts that must come back to where they
were: tasks, file descriptors, sessions, what waits in lanes, consumers, MongoDB's cursors.

Does not know: what is done to them.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import psutil
from prometheus_client.parser import text_string_to_metric_families
from pymongo import AsyncMongoClient

from tests.support.cluster.stack import KINDS, Stack

SAMPLE_S = 1.0
MIB = 2**20

# What a process may have more than before and still count as flat: its allocator's slack, and caches that fill up.
SLACK_SHARE, SLACK_BYTES = 0.15, 32 * MIB

# A cache of its own fills up with what is stored (512 MiB on a local stack), besides connections and what is under way.
FILLS = {"mongodb": 1024 * MIB}

Counts = dict[str, float]

# How far above its start a count may be and still be back: pools of connections, and tasks that live for a moment. What
# is lost once in each round of a soak is many more.
SPARE: Counts = {"descriptors": 8, "tasks": 4}

# Whose connections end at a backend: each of these nodes may have that many more of them, at both of their ends.
CONNECTED: Mapping[str, tuple[str, ...]] = {
    "mongodb": ("storage-",),
    "kafka": ("access-", "logic-"),
    "etcd": ("access-", "logic-", "storage-"),
}

# Clients may be connected to any access node: of these the sum counts.
SUMMED = ("connections", "sessions", "users", "visitors elsewhere", "visits", "watched users")
ALL_ACCESS = "access nodes"


@dataclass(slots=True)
class Memory:
    """Resident bytes of each process by time."""

    samples: list[tuple[float, Mapping[str, int]]] = field(default_factory=list)

    def mean(self, since: float, until: float) -> dict[str, float]:
        """The mean of the processes that lived through all of it."""
        taken = [sample for at, sample in self.samples if since <= at <= until]
        if not taken:
            return {}
        names = set.intersection(*(set(sample) for sample in taken))
        return {name: statistics.mean(sample[name] for sample in taken) for name in sorted(names)}

    def peak(self) -> dict[str, float]:
        highest: dict[str, float] = {}
        for _, sample in self.samples:
            for name, used in sample.items():
                highest[name] = max(used, highest.get(name, 0.0))
        return highest


@asynccontextmanager
async def memory_of(stack: Stack) -> AsyncIterator[Memory]:
    """Is sampled while it is entered."""
    memory = Memory()

    async def sample() -> None:
        while True:
            pids = await stack.pids()
            memory.samples.append((time.monotonic(), _resident(pids)))
            await asyncio.sleep(SAMPLE_S)

    async with asyncio.TaskGroup() as group:
        sampling = group.create_task(sample(), name="memory")
        try:
            yield memory
        finally:
            sampling.cancel()


def grown(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """The processes whose memory is not flat, each as a sentence."""
    return [
        f"{name} grew from {was / MIB:.0f} to {after[name] / MIB:.0f} MiB"
        for name, was in before.items()
        if name in after and after[name] > max(was * (1 + SLACK_SHARE) + SLACK_BYTES, FILLS.get(name, 0))
    ]


async def counts_of(stack: Stack) -> dict[str, Counts]:
    """The counts of every node, from its own /debug/state, and of the backends. Raises httpx2.HTTPError."""
    status = await asyncio.to_thread(stack.status)
    async with httpx2.AsyncClient(trust_env=False, timeout=5.0) as http:
        nodes = [node for kind in KINDS[:3] for node in status[kind]]
        counts = await asyncio.gather(*(_of_node(http, node) for node in nodes))
    told = dict(zip((node["name"] for node in nodes), counts, strict=True))
    told[ALL_ACCESS] = {name: sum(each.pop(name, 0.0) for each in told.values()) for name in SUMMED}
    for backend in status["backends"]:
        told[backend["name"]] = {"descriptors": _descriptors(backend["pid"])}
    mongodb = next(backend for backend in status["backends"] if backend["name"].startswith("mongodb"))
    return {**told, mongodb["name"]: {**told[mongodb["name"]], **await _of_mongodb(mongodb["address"])}}


def above(start: Mapping[str, Counts], now: Mapping[str, Counts]) -> list[str]:
    """What is more than it was at the start, each as a sentence."""
    return [
        f"{name}: {count} {value:g}, at the start {start[name].get(count, 0.0):g}"
        for name, counts in now.items()
        for count, value in counts.items()
        if name in start and value > start[name].get(count, 0.0) + SPARE.get(count, 0.0) * _ends(name, start)
    ]


def _ends(name: str, counted: Mapping[str, Counts]) -> int:
    """How many nodes' connections count there: those of a backend's clients, a node's own."""
    kinds = next((kinds for backend, kinds in CONNECTED.items() if name.startswith(backend)), ())
    return max(1, sum(each.startswith(kinds) for each in counted if kinds))


def highest(some: Mapping[str, Counts], others: Mapping[str, Counts]) -> dict[str, Counts]:
    """The larger one of each count."""
    return {
        name: {count: max(value, others[name].get(count, value)) for count, value in counts.items()}
        for name, counts in some.items()
        if name in others
    }


async def _of_node(http: httpx2.AsyncClient, node: Mapping[str, Any]) -> Counts:
    state = (await http.get(f"{node['ops']}/debug/state")).raise_for_status()
    metrics = (await http.get(f"{node['ops']}/metrics")).raise_for_status()
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(metrics.text)
        for sample in family.samples
        if not sample.labels
    }
    return _counts(state.json(), values["tidings_bus_consumers"])


def _counts(state: Mapping[str, Any], consumers: float) -> Counts:
    """Descriptors: without those of clients."""
    lanes = state.get("lanes", {})
    counts: Counts = {
        "tasks": sum(state["asyncio_tasks"].values()),
        "descriptors": state["process"]["descriptors"] - state.get("connections", 0),
        "waiting in lanes": sum(lane["depth"] for lane in lanes.values()),
        "consumers": consumers,
    }
    for name, path in NAMED.items():
        found: Any = state
        for step in path:
            found = found.get(step) if isinstance(found, Mapping) else None
        if found is not None:
            counts[name] = float(found)
    return counts


# What the kinds of nodes have besides, and where in /debug/state.
NAMED: Mapping[str, Sequence[str]] = {
    "connections": ("connections",),
    "sessions": ("sessions",),
    "users": ("users",),
    "visitors elsewhere": ("visitors_elsewhere",),
    "visits": ("visits", "confirmed"),
    "visits waiting": ("visits", "waiting"),
    "watched users": ("watched_users",),
    "unanswered": ("unanswered",),
    "held frames": ("held_frames",),
    "slow consumers": ("slow_consumers",),
    "records behind": ("mailbox", "lag"),
    "broadcasts behind": ("mailbox", "broadcast_lag"),
    "sends under way": ("under_way", "sends"),
    "requests under way": ("under_way", "requests"),
    "backlog bytes": ("kafka", "backlog_bytes"),
    "waiting to be written": ("waiting_to_be_written",),
}


def _resident(pids: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, pid in pids.items():
        with suppress(psutil.Error):
            found[name] = psutil.Process(pid).memory_info().rss
    return found


def _descriptors(pid: int) -> int:
    """Without those of its files of data, which a backend opens as they are used: what clients leave behind there is a
    connection."""
    process = psutil.Process(pid)
    return int(process.num_fds()) - len(process.open_files())


async def _of_mongodb(address: str) -> Counts:
    async with AsyncMongoClient[dict[str, Any]](address, directConnection=True) as client:
        told = await client.admin.command("serverStatus")
    return {"cursors": float(told["metrics"]["cursor"]["open"]["total"])}
