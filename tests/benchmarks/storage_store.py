"""How many messages a second one storage node stores, and what each costs: `python tests/benchmarks/storage_store.py
URI`.

A closed loop: so many sends are in flight all the time, each with two recipients, over the node's lanes into a real
MongoDB, or (`memory`) into the twin in memory. They go as the rows of a call, or with `--items` as messages of their
own, which is the general way. The encoding of calls and answers is in it, the gRPC server is not. With `--pid` of
mongod its CPU time is shown too.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sys
import time
from dataclasses import dataclass, field

import psutil
import uvloop
from google.protobuf.message import Message

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import SystemClock
from services.storage.app import SWITCH_INTERVAL_S
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.owners.peers import NoPeers
from services.storage.repository.memory import Database
from services.storage.repository.mongo.connection import connected
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from services.storage.rpc import StorageServicer
from services.storage.wiring import open_storage
from tests.unit.storage.nodes import NO_CONTEXT, columns_of
from tidings_protocol.ids import direct, new_id

PEERS = 5


@dataclass(slots=True)
class Tally:
    stored: int = 0
    failed: int = 0
    latencies_s: list[float] = field(default_factory=list)
    clients_s: float = 0.0  # CPU time of the clients


def batch_of(rng: random.Random, size: int, users: int) -> list[storage_pb2.StoreItem]:
    items = []
    for _ in range(size):
        one = rng.randrange(users)
        other = (one + 1 + rng.randrange(PEERS)) % users
        items.append(item_of(f"user{one}", f"user{other}", rng))
    return items


def item_of(sender: str, peer: str, rng: random.Random) -> storage_pb2.StoreItem:
    return storage_pb2.StoreItem(
        conversation=direct(sender, peer),
        sender=sender,
        client_id=f"{rng.getrandbits(64):016x}",
        content=rng.randbytes(48),
        kind=1,
        recipients=[sender, peer],
    )


async def first_messages(node: Storage, users: int) -> None:
    """Every conversation has one, so that the figures are about storing, not about creating."""
    rng = random.Random(0)
    items = [
        item_of(f"user{one}", f"user{(one + 1 + far) % users}", rng) for one in range(users) for far in range(PEERS)
    ]
    began = time.monotonic()
    for start in range(0, len(items), 400):
        await node.conversations.store(items[start : start + 400])
    print(f"{len(items)} first messages: {len(items) / (time.monotonic() - began):.0f}/s")  # noqa: T201


async def client(node: Storage, tally: Tally, until: float, arguments: argparse.Namespace, seed: int) -> None:
    """One logic node's batch after the other."""
    rng = random.Random(seed)
    servicer = StorageServicer(node)
    while time.monotonic() < until:
        own = time.process_time()
        items = batch_of(rng, arguments.batch, arguments.users)
        call: Message = storage_pb2.StoreBatch(items=items) if arguments.items else columns_of(items)
        encoded = call.SerializeToString()
        tally.clients_s += time.process_time() - own
        began = time.monotonic()
        failed = await (store_items if arguments.items else store_rows)(servicer, encoded)
        tally.latencies_s.append(time.monotonic() - began)
        tally.failed += failed
        tally.stored += len(items) - failed


async def store_items(servicer: StorageServicer, call: bytes) -> int:
    """How many of them were not stored."""
    answer = await servicer.Store(storage_pb2.StoreBatch.FromString(call), NO_CONTEXT)
    answer.SerializeToString()
    return sum(outcome.status != storage_pb2.StoreOutcome.STORED for outcome in answer.outcomes)


async def store_rows(servicer: StorageServicer, call: bytes) -> int:
    """How many of them were not stored."""
    answer = await servicer.StoreRows(storage_pb2.StoreColumns.FromString(call), NO_CONTEXT)
    answer.SerializeToString()
    return len(answer.unusual)


async def measure(arguments: argparse.Namespace) -> None:
    clock = SystemClock()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    limits = Limits(inbox_lanes=arguments.inbox_lanes)
    if arguments.uri == "memory":
        async with open_storage(Database().repository(), NoPeers(), clock, limits) as node:
            await run(arguments, node)
        return
    name = f"bench-{new_id()}"
    async with connected(arguments.uri, name, clock, timeout_s=5, connections_max=32, name="bench") as connection:
        await ensure_schema(connection)
        try:
            async with open_storage(mongo_repository(connection), NoPeers(), clock, limits) as node:
                await run(arguments, node)
        finally:
            await connection.database.client.drop_database(name)


async def run(arguments: argparse.Namespace, node: Storage) -> None:
    await first_messages(node, arguments.users)
    warm = Tally()
    clients = max(1, arguments.in_flight // arguments.batch)
    for tally, seconds in ((warm, arguments.warm_s), (Tally(), arguments.seconds)):
        mongod = psutil.Process(arguments.pid) if arguments.pid else None
        theirs = sum(mongod.cpu_times()[:2]) if mongod else 0.0
        mine = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for seed in range(clients):
                group.create_task(client(node, tally, began + seconds, arguments, seed + len(warm.latencies_s)))
        took = time.monotonic() - began
        if tally is warm:
            continue
        cpu_ms = (sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - mine - tally.clients_s) * 1e3
        cpu_theirs_ms = ((sum(mongod.cpu_times()[:2]) if mongod else 0.0) - theirs) * 1e3
        report(tally, took, cpu_ms, cpu_theirs_ms)


def report(tally: Tally, took_s: float, cpu_ms: float, mongod_ms: float) -> None:
    ordered = sorted(tally.latencies_s)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1e3 for share in (0.5, 0.99))
    thousands = max(tally.stored, 1) / 1000
    print(  # noqa: T201
        f"{tally.stored / took_s:.0f} messages/s, failed {tally.failed}; a call p50 {p50:.1f} ms, p99 {p99:.1f} ms; "
        f"CPU per 1,000 messages: Python {cpu_ms / thousands:.1f} ms, mongod {mongod_ms / thousands:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uri", help="of MongoDB, or `memory`")
    parser.add_argument("--items", action="store_true", help="the general way instead of rows")
    parser.add_argument("--pid", type=int, default=0, help="of mongod, for its CPU time")
    parser.add_argument("--in-flight", type=int, default=800)
    parser.add_argument("--batch", type=int, default=200, help="items of one call")
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--warm-s", type=float, default=2)
    parser.add_argument("--inbox-lanes", type=int, default=Limits().inbox_lanes)
    uvloop.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
