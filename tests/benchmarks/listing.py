"""What a list of conversations costs: `python -m tests.benchmarks.listing [CHATS …]`.

One storage node on a mongod of its own; one user with so many direct chats, of which each has one message. Told are the
first page of 50, the one after it, the first one again, and how long the event loop stood at most meanwhile: so long
everybody else waited.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import SystemClock
from services.storage.app import SWITCH_INTERVAL_S
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.owners.peers import NoPeers
from services.storage.repository.contract import Repository
from services.storage.repository.mongo.connection import connected
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from services.storage.repository.records import ConversationDocument, InboxEntry, MemberDocument, StoredMessage
from services.storage.wiring import open_storage
from tests.support.cluster.mongod import Mongod
from tidings_protocol.ids import direct

CHATS = (1000, 50_000)
LIMIT = 50
TICK_S = 0.001


async def main(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mongod = Mongod(Path(folder))
        await mongod.start()
        clock = SystemClock()
        try:
            async with connected(
                mongod.uri, "listing", clock, timeout_s=60, connections_max=8, name="listing"
            ) as connection:
                await ensure_schema(connection)
                repository = mongo_repository(connection)
                for size in sizes:
                    await fill(repository, f"user{size}", size, clock.wall_ms())
                    async with open_storage(repository, NoPeers(), clock, Limits()) as node:
                        await measure(node, f"user{size}", size)
        finally:
            await mongod.stop()


async def fill(repository: Repository, user: str, chats: int, now_ms: int) -> None:
    for start in range(0, chats, 500):
        numbers = range(start + 1, min(start + 500, chats) + 1)
        ids = [direct(user, f"peer{number:06}") for number in numbers]
        await repository.members.write(
            [MemberDocument(key, name, stamp=1) for key in ids for name in key[2:].split("|")]
        )
        times = [now_ms - (chats - number) * 1000 for number in numbers]
        await repository.conversations.create(
            [
                ConversationDocument(key, 1, member_count=2, head=1, settled=1, last_ms=time_ms)
                for key, time_ms in zip(ids, times, strict=True)
            ]
        )
        await repository.messages.insert(
            [StoredMessage(key, 1, user, "c", time_ms, b"x" * 100) for key, time_ms in zip(ids, times, strict=True)]
        )
        await repository.inboxes.insert(
            [
                InboxEntry(user, number, key, 1, time_ms)
                for number, key, time_ms in zip(numbers, ids, times, strict=True)
            ]
        )


async def measure(node: Storage, user: str, chats: int) -> None:
    after = ""

    async def page() -> None:
        nonlocal after
        (outcome,) = await node.lists.pages([storage_pb2.ConversationsItem(user=user, after=after, limit=LIMIT)])
        assert len(outcome.entries) == LIMIT, outcome.fault
        after = outcome.next

    for name in ("first page", "second page", "first page again"):
        after = after if name == "second page" else ""
        took_s, stood_s = await _watched(page)
        sys.stdout.write(f"{chats:8,} chats  {name:18} {took_s:6.3f} s, the loop stood {stood_s:6.3f} s\n")


async def _watched(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """How long it took, and the longest time in which the loop did nothing else."""
    longest, is_done = 0.0, False

    async def tick() -> None:
        nonlocal longest
        while not is_done:
            asked = time.perf_counter()
            await asyncio.sleep(TICK_S)
            longest = max(longest, time.perf_counter() - asked - TICK_S)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(tick())
        began = time.perf_counter()
        await work()
        took_s = time.perf_counter() - began
        is_done = True
    return took_s, longest


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    asyncio.run(main([int(each) for each in sys.argv[1:]] or list(CHATS)))
