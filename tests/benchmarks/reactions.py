"""A post that very many people react to: `python tests/benchmarks/reactions.py URI`.

So many users give a post of a large group one of a few reactions, a tenth of them take it back, at an even pace, in
calls as logic nodes make them: over the node's lane into a real MongoDB, or (`memory`) into the twin in memory. It says
what an act costs, how many entries announce them, how long the event loop stood at most, and whether the counts of the
last entry are those of the set. Meanwhile others send messages through the same node; how long these took is told too.
The gRPC server is not in it. With `--before` so many others have reacted already. Exit status 1: there was more than an
entry a second, or a count is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil
import uvloop

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import SystemClock
from services.common.lifecycle import freeze_garbage
from services.storage.app import SWITCH_INTERVAL_S
from services.storage.folding.shown import folded_state
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.owners.peers import NoPeers
from services.storage.repository.contract import Repository
from services.storage.repository.memory import Database
from services.storage.repository.mongo.connection import connected
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from services.storage.repository.reactions import ReactionWrite, StoredReaction
from services.storage.repository.records import CHANGE, Span
from services.storage.rpc import StorageServicer
from services.storage.wiring import open_storage
from tests.unit.storage.nodes import NO_CONTEXT, create, post, react, send
from tidings_protocol.ids import new_id

GROUP, POST = "g:crowd", 2
REACTIONS = ("👍", "❤", "😂", "🎉", "😮")
# What stands longer than this is seen by whoever sends.
STANDS_MAX_MS = 50.0
TAKE_BACK = 10
PROBE_S = 0.002


@dataclass(slots=True)
class Seen:
    """What was measured."""

    acts_s: list[float] = field(default_factory=list)
    sends_s: list[float] = field(default_factory=list)
    stood_ms: float = 0.0
    failed: int = 0


@asynccontextmanager
async def probing(seen: Seen) -> AsyncIterator[None]:
    """How late the event loop wakes somebody, as long as this is entered: by the time that this thread worked, so that
    other programs of the machine do not count.
    """

    async def probe() -> None:
        while True:
            before, worked = time.monotonic(), time.thread_time()
            await asyncio.sleep(PROBE_S)
            late = min(time.monotonic() - before - PROBE_S, time.thread_time() - worked)
            seen.stood_ms = max(seen.stood_ms, late * 1000)

    task = asyncio.create_task(probe(), name="probe")
    try:
        yield
    finally:
        task.cancel()


def acts_of(users: int) -> list[pb.StoreItem]:
    """All acts, in their order: everybody reacts, and some a little later take it back."""
    acts: list[pb.StoreItem] = []
    for number in range(users):
        given = REACTIONS[number * number % 7 % len(REACTIONS)]
        acts.append(react(GROUP, POST, f"user{number}", given, version=1))
        back = number - 500
        if back >= 0 and back % TAKE_BACK == 0:
            taken = REACTIONS[back * back % 7 % len(REACTIONS)]
            acts.append(react(GROUP, POST, f"user{back}", taken, removes=True, version=1))
    return acts


async def crowd(
    servicer: StorageServicer, arguments: argparse.Namespace, acts: Sequence[pb.StoreItem], seen: Seen
) -> None:
    """Calls one behind the other in time, without waiting for each other."""
    pace = len(acts) / arguments.seconds
    began = time.monotonic()

    async def call(part: Sequence[pb.StoreItem]) -> None:
        asked = time.monotonic()
        answer = await servicer.React(pb.StoreBatch(items=part), NO_CONTEXT)
        seen.acts_s.append(time.monotonic() - asked)
        seen.failed += sum(outcome.status != pb.StoreOutcome.STORED for outcome in answer.outcomes)

    async with asyncio.TaskGroup() as group:
        for start in range(0, len(acts), arguments.batch):
            await asyncio.sleep(max(0.0, began + start / pace - time.monotonic()))
            group.create_task(call(acts[start : start + arguments.batch]))


async def others(servicer: StorageServicer, arguments: argparse.Namespace, seen: Seen) -> None:
    """Messages all the while."""
    until = time.monotonic() + arguments.seconds
    number = 0
    while time.monotonic() < until:
        items = [send("ann", f"peer{each}", f"{number} {each}") for each in range(10)]
        asked = time.monotonic()
        await servicer.Store(pb.StoreBatch(items=items), NO_CONTEXT)
        seen.sends_s.append(time.monotonic() - asked)
        number += 1
        await asyncio.sleep(0.05)


async def measure(arguments: argparse.Namespace) -> bool:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    if arguments.uri == "memory":
        return await run(arguments, Database().repository())
    name = f"bench-{new_id()}"
    async with connected(
        arguments.uri, name, SystemClock(), timeout_s=5, connections_max=32, name="bench"
    ) as connection:
        await ensure_schema(connection)
        try:
            return await run(arguments, mongo_repository(connection))
        finally:
            await connection.database.client.drop_database(name)


async def run(arguments: argparse.Namespace, repository: Repository) -> bool:
    """Whether all is as it must be."""
    seen, acts = Seen(), acts_of(arguments.users)
    async with open_storage(repository, NoPeers(), SystemClock(), Limits()) as node:
        servicer = StorageServicer(node)
        await prepared(servicer)
        await others_before(repository, arguments.before)
        freeze_garbage()
        mongod = psutil.Process(arguments.pid) if arguments.pid else None
        theirs = sum(mongod.cpu_times()[:2]) if mongod else 0.0
        mine, began = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), time.monotonic()
        async with probing(seen), asyncio.TaskGroup() as group:
            group.create_task(crowd(servicer, arguments, acts, seen))
            group.create_task(others(servicer, arguments, seen))
        took = time.monotonic() - began
        mine = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - mine
        theirs = (sum(mongod.cpu_times()[:2]) if mongod else 0.0) - theirs
        await asyncio.sleep(2 * Limits().reaction_gather_s)
        right = await report(repository, node, seen, took)
        thousands = len(acts) / 1000
        print(  # noqa: T201
            f"CPU per 1,000 acts: Python {mine * 1000 / thousands:.0f} ms, mongod {theirs * 1000 / thousands:.0f} ms"
        )
        return right


async def prepared(servicer: StorageServicer) -> None:
    """The group with its post, and the chats of the others."""
    made = await servicer.Change(pb.ChangeBatch(items=[create(GROUP, "ann", large=True)]), NO_CONTEXT)
    assert made.outcomes[0].status == pb.ChangeOutcome.DONE
    stored = await servicer.Store(pb.StoreBatch(items=[post(GROUP, "ann", "post", 1)]), NO_CONTEXT)
    assert stored.outcomes[0].seq == POST
    items = [send("ann", f"peer{each}", "first") for each in range(10)]
    await servicer.Store(pb.StoreBatch(items=items), NO_CONTEXT)


async def others_before(repository: Repository, count: int) -> None:
    """Who has reacted long ago."""
    given = [
        StoredReaction(GROUP, POST, f"before{number}", REACTIONS[number % len(REACTIONS)], number + 1, 1)
        for number in range(count)
    ]
    for start in range(0, count, 1000):
        await repository.reactions.write(list(map(ReactionWrite, given[start : start + 1000])))


async def report(repository: Repository, node: Storage, seen: Seen, took: float) -> bool:
    [page] = await repository.messages.pages([Span(GROUP, POST, limit=100_000)])
    entries = sum(each.kind == CHANGE for each in page)
    target = (await repository.messages.get([(GROUP, POST)]))[GROUP, POST]
    told = Counter({each.reaction: each.count for each in folded_state(target).state.reactions})
    [tally] = (await repository.reactions.tallies([(GROUP, POST)])).values()
    there = Counter({each.reaction: each.number for each in tally})
    p50, p99 = (_quantile(seen.acts_s, share) * 1000 for share in (0.5, 0.99))
    send50, send99 = (_quantile(seen.sends_s, share) * 1000 for share in (0.5, 0.99))
    print(  # noqa: T201
        f"{there.total()} reactions in {took:.0f} s by {entries} entries, failed {seen.failed}; a call p50 {p50:.1f} "
        f"ms, p99 {p99:.1f} ms; a send meanwhile p50 {send50:.1f} ms, p99 {send99:.1f} ms; the loop stood "
        f"{seen.stood_ms:.0f} ms at most; waiting {node.reactions.waiting}; told {dict(told)}, there {dict(there)}"
    )
    if seen.stood_ms > STANDS_MAX_MS:
        print(f"the event loop stood longer than {STANDS_MAX_MS:g} ms")  # noqa: T201
    return told == there and entries <= math.ceil(took) + 2 and not seen.failed and seen.stood_ms <= STANDS_MAX_MS


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[int(len(ordered) * share)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", help="of MongoDB, or `memory`")
    parser.add_argument("--pid", type=int, default=0, help="of mongod, for its CPU time")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--before", type=int, default=0, help="who has reacted before")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--batch", type=int, default=10, help="items of one call")
    sys.exit(0 if uvloop.run(measure(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
