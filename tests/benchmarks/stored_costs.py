"""What the work of a storage node costs beside a past: one thing at a time, on a node in this process.

Of each kind of work the time and the processor time (of this process and of mongod) are told. What is asked for is
chosen at random, so of a large past it is mostly not in mongod's cache. Each kind begins on a node that just started.
All pasts have their turns one after the other, since the machine's speed changes; the first round does not count.
"""

from __future__ import annotations

import dataclasses
import random
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import psutil

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import SystemClock
from services.storage.limits import Limits
from services.storage.messages.store_call import StoreCall
from services.storage.node import Storage
from services.storage.owners.peers import NoPeers
from services.storage.repository.mongo.connection import MongoConnection
from services.storage.repository.mongo.conversations import MongoConversations
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from services.storage.repository.mongo.schema import LOG
from services.storage.repository.mongo.sessions import MongoUsers
from services.storage.repository.records import ConversationDocument, UserDocument
from services.storage.upkeep.retention import Retention, RetentionPolicy
from services.storage.upkeep.timekeeping import Timekeeper
from services.storage.wiring import open_storage
from tests.benchmarks.past import DAYS_AGO, EACH, Past
from tidings_protocol.client_pb2 import Content
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import new_id

REPEATS = 6
SAMPLES = 10  # conversations or users of one repeat
PAGE = 50
SWEEPS = 2
WINDOW = 3  # conversations, and users, that one goes over
SEED = 1
RETENTION = "retention"
NAMES = {
    "start": "start of a storage node",
    "first send": "a send, the first of a conversation since the start",
    "send": "a send, a later one",
    "history": f"a page of a conversation, {PAGE} messages",
    "inbox": f"a page of an inbox, {PAGE} messages",
    "login": "a login of a new device",
    RETENTION: f"retention, {EACH} documents",
}


@dataclass(slots=True)
class Cost:
    """What one kind of work took, all in all."""

    times: int = 0
    took_s: float = 0.0
    cpu_s: float = 0.0

    def told(self) -> dict[str, float]:
        times = max(self.times, 1)
        return {"ms": round(1000 * self.took_s / times, 3), "cpu_ms": round(1000 * self.cpu_s / times, 3)}


@dataclass(slots=True)
class Meter:
    """`mongod` is its process id."""

    mongod: int
    costs: dict[str, Cost] = field(default_factory=lambda: {name: Cost() for name in NAMES})

    @asynccontextmanager
    async def measured(self, name: str, times: int = 1) -> AsyncIterator[Cost]:
        """What is done inside is so many of these; with 0 whoever does it says so."""
        cost = self.costs[name]
        began, used = time.perf_counter(), self._cpu_s()
        yield cost
        cost.took_s += time.perf_counter() - began
        cost.cpu_s += self._cpu_s() - used
        cost.times += times

    def forget(self, name: str | None = None) -> None:
        """Begins anew with one kind of work, or with all."""
        for each in [name] if name else NAMES:
            self.costs[each] = Cost()

    def _cpu_s(self) -> float:
        own = resource.getrusage(resource.RUSAGE_SELF)
        theirs = psutil.Process(self.mongod).cpu_times()
        return own.ru_utime + own.ru_stime + theirs.user + theirs.system


class SomeConversations(MongoConversations):
    """Only a few of them are there when all are asked for: those after some id, up to `last`."""

    def __init__(self, connection: MongoConnection, begin: str) -> None:
        super().__init__(connection)
        self.last = begin
        self._begin = begin

    async def after(self, conversation: str, limit: int) -> list[ConversationDocument]:
        found = [] if conversation else await super().after(self._begin, min(limit, WINDOW))
        self.last = found[-1].conversation if found else self.last
        return found


class SomeUsers(MongoUsers):
    """As SomeConversations."""

    def __init__(self, connection: MongoConnection, begin: str) -> None:
        super().__init__(connection)
        self.last = begin
        self._begin = begin

    async def after(self, user: str, limit: int) -> list[UserDocument]:
        found = [] if user else await super().after(self._begin, min(limit, WINDOW))
        self.last = found[-1].user if found else self.last
        return found


@dataclass(slots=True)
class _Place:
    """A past in its database. `chats` and `users`: after which ids retention goes on."""

    past: Past
    connection: MongoConnection
    meter: Meter
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    chats: str = ""
    users: str = ""


async def costs_beside(pasts: Sequence[tuple[Past, MongoConnection]], mongod: int) -> list[dict[str, dict[str, float]]]:
    """Milliseconds by kind of work, of each past; `mongod` is its process id."""
    places = [_Place(past, connection, Meter(mongod)) for past, connection in pasts]
    for rounds, work in ((REPEATS, _work), (SWEEPS, _sweep)):
        for number in range(1 + rounds):
            for place in places:
                await work(place)
                if not number:
                    place.meter.forget(RETENTION if work is _sweep else None)
    return [{name: cost.told() for name, cost in place.meter.costs.items()} for place in places]


async def _work(place: _Place) -> None:
    past, meter, chance = place.past, place.meter, place.chance
    chats = chance.sample(range(past.conversations), SAMPLES)
    users = chance.sample(range(past.users), SAMPLES)
    for of_chats in (_read, _send):
        await _on_a_new_node(place.connection, meter, partial(of_chats, meter, past, chats=chats))
    for of_users in (_look_in, _log_in):
        await _on_a_new_node(place.connection, meter, partial(of_users, meter, past, users=users))


async def _on_a_new_node(connection: MongoConnection, meter: Meter, work: Callable[[Storage], Awaitable[None]]) -> None:
    async with AsyncExitStack() as stack:
        async with meter.measured("start"):
            await ensure_schema(connection)
            opening = open_storage(mongo_repository(connection), NoPeers(), SystemClock(), Limits())
            node = await stack.enter_async_context(opening)
        await work(node)


async def _read(meter: Meter, past: Past, node: Storage, *, chats: Sequence[int]) -> None:
    for chat in chats:
        item = storage_pb2.HistoryItem(conversation=past.conversation(chat), limit=PAGE)
        async with meter.measured("history"):
            (page,) = await node.pages.history([item])
        assert len(page.entries) == PAGE, page.fault


async def _look_in(meter: Meter, past: Past, node: Storage, *, users: Sequence[int]) -> None:
    for number in users:
        item = storage_pb2.InboxItem(user=past.user(number), after=EACH, limit=PAGE)
        async with meter.measured("inbox"):
            (page,) = await node.pages.inbox([item])
        assert len(page.entries) == PAGE, page.fault


async def _send(meter: Meter, past: Past, node: Storage, *, chats: Sequence[int]) -> None:
    for name in ("first send", "send"):
        for chat in chats:
            async with meter.measured(name):
                call = StoreCall(_row(past, chat))
                error = await node.conversations.store_rows(call)
            if error is not None:
                raise error
            assert not call.unusual, call.unusual


def _row(past: Past, chat: int) -> storage_pb2.StoreColumns:
    pair = past.pair(chat)
    return storage_pb2.StoreColumns(
        conversations=[past.conversation(chat)],
        senders=[pair[0]],
        client_ids=[new_id()],
        contents=[Content(text="x" * 128).SerializeToString()],
        recipient_counts=[2],
        recipients=pair,
    )


async def _log_in(meter: Meter, past: Past, node: Storage, *, users: Sequence[int]) -> None:
    for number in users:
        record = storage_pb2.SessionRecord(
            user=past.user(number), device=new_id(), session=new_id(), node="access-0", boot_id="boot"
        )
        item = storage_pb2.SessionItem(record=record, devices_max=100)
        async with meter.measured("login"):
            (outcome,) = await node.sessions.open([item], ["boot"])
        assert not isinstance(outcome, TidingsError)
        assert outcome.inbox_head > 0, outcome


async def _sweep(place: _Place) -> None:
    """Retention removes all of a few conversations, and nearly all of a few inboxes."""
    connection = place.connection
    conversations, users = SomeConversations(connection, place.chats), SomeUsers(connection, place.users)
    some = dataclasses.replace(mongo_repository(connection), conversations=conversations, users=users)
    policy = RetentionPolicy(message_days=DAYS_AGO // 2, step=EACH, pause_s=0.0)
    before = await connection.collection(LOG).estimated_document_count()
    async with open_storage(some, NoPeers(), SystemClock(), Limits()) as node:
        time_of_day = Timekeeper(SystemClock(), some.time)
        retention = Retention(some, node.conversations, node.behind, NoPeers(), time_of_day, policy)
        async with place.meter.measured(RETENTION, times=0) as cost:
            await retention.sweep()
    removed = before - await connection.collection(LOG).estimated_document_count()
    assert removed >= EACH, removed
    cost.times += round(removed / EACH)
    place.chats, place.users = conversations.last, users.last
