"""Hundreds of connections that stop reading while the large group that they are in talks: they cost bounded memory,
nobody else waits for them, they are told, and have everything when they read again.

    all read: before ──▶ hundreds stop; long texts until each is paused ──▶ during ──▶ they read again ──▶ all have all
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.chaos.load.flood_load import quantile
from tests.chaos.load.gauges import MIB, counts_of, memory_of
from tests.chaos.load.reader import DEVICE, Reader
from tests.chaos.scene import Scene
from tests.support.cluster.stack import Shape, Stack
from tests.support.device.pipes import Address
from tests.support.device.wire import connect
from tests.support.faults.outcome import Broken
from tests.support.histories import record
from tidings_protocol import client_pb2 as pb

SLOW, ATTENTIVE = 500, 20
MEMBERS_STEP = 400  # at most 500 in one request
OPENING_AT_ONCE = 20
TALK_PER_S, SHORT_BYTES = 5.0, 200
FILL_PER_S, LONG_BYTES, FILL_S = 8.0, 24_000, 60.0
LOAD_PER_S = 50.0
SETTLED_S = 5.0
BEFORE_S, DURING_S = 10.0, 30.0
PING_S = 10.0
SETTLE_S = 60.0
POLL_S = 0.2
SLOW_CONSUMER_BYTES = 262_144
SHAPE = Shape(name="slow", settings={"TIDINGS_SLOW_CONSUMER_BYTES": str(SLOW_CONSUMER_BYTES)})

# Beyond the setting: the frame that went over it, and the allocator.
EXTRA_BYTES, EXTRA_NODE_BYTES = 64 * 1024, 32 * MIB
LATER_SHARE, LATER_MS = 2.0, 250.0


@dataclass(slots=True)
class Group:
    """The large group: who is in it, and what was said and shown."""

    readers: list[Reader] = field(default_factory=list)
    talker: Reader | None = None
    events: list[record.Event] = field(default_factory=list)
    shown_ms: list[float] = field(default_factory=list)  # of those that read all the time
    posted_at: dict[str, float] = field(default_factory=dict)
    head: int = 0

    @property
    def attentive(self) -> list[Reader]:
        return self.readers[:ATTENTIVE]

    @property
    def slow(self) -> list[Reader]:
        return self.readers[ATTENTIVE:]

    def show(self, reader: Reader, message: pb.Message) -> None:
        now = time.monotonic()
        if reader in self.attentive and message.client_id in self.posted_at:
            self.shown_ms.append((now - self.posted_at[message.client_id]) * 1000)
        self.events.append(record.Shown(now, reader.user, DEVICE, stored(message)))

    async def say(self, text_bytes: int) -> None:
        """One message; raises Broken if it is refused."""
        assert self.talker is not None
        order = len(self.posted_at) + 1
        client_id, user, conversation = f"slow-{order}", self.talker.user, self.talker.group
        self.posted_at[client_id] = time.monotonic()
        self.events.append(record.Posted(self.posted_at[client_id], user, DEVICE, order, conversation, client_id))
        reply = await self.talker.send(client_id, client_id.ljust(text_bytes, "x"))
        sent = reply.sent
        if not sent.seq:
            raise Broken(f"the talker was refused: {reply.error.code} {reply.error.message}")
        self.head = sent.seq
        self.events.append(
            record.Acknowledged(
                time.monotonic(),
                user,
                DEVICE,
                order,
                conversation,
                client_id,
                sent.seq,
                sent.message_id,
                sent.time_ms,
                sent.duplicate,
            )
        )


async def slow_readers(scene: Scene) -> None:
    await scene.load.talk(LOAD_PER_S, restless=False)
    async with _group(scene) as group, memory_of(scene.stack) as memory:
        await asyncio.sleep(SETTLED_S)  # all that was to be done for so many who came at once
        before = await _talk(scene, group, "before", BEFORE_S)
        filled = time.monotonic()
        for reader in group.slow:
            reader.stop_reading()
        scene.say(f"{SLOW} stop reading")
        await _fill(scene, group)
        during = await _talk(scene, group, "during", scene.seconds(DURING_S))
        stopped = time.monotonic()
        cost = _cost(memory.mean(filled - BEFORE_S, filled), memory.peak(), await _paused_by_node(scene.stack))
        scene.say("they read again")
        scene.mended()
        for reader in group.slow:
            group.events.append(record.Back(time.monotonic(), reader.user, DEVICE))
            reader.read_again()
        await _until(lambda: all(reader.shown >= group.head for reader in group.readers), "not all have all")
        await scene.until_healthy()
        scene.details["slow_readers"] = {
            "readers": SLOW,
            "paused": sum(reader.paused > 0 for reader in group.slow),
            "setting_kib": SLOW_CONSUMER_BYTES // 1024,
            "kib_each": {node: round(each / 1024) for node, (each, _) in cost.items()},
            "before_ms": _percentiles(before),
            "during_ms": _percentiles(during),
            "history_pages": sum(reader.pages for reader in group.slow),
            "recovered_s": round(time.monotonic() - stopped, 1),
        }
        live = len(group.shown_ms)
        await _talk(scene, group, "after", BEFORE_S)
        await _until(lambda: all(reader.shown >= group.head for reader in group.readers), "not all are live again")
        _check(group, before, during, cost)
        if len(group.shown_ms) == live:
            raise Broken("nobody was shown anything afterwards")
        scene.events += [*group.events, *await _in_the_end(scene, group)]


# ---- the group


@asynccontextmanager
async def _group(scene: Scene) -> AsyncIterator[Group]:
    """All members are connected, and read; each pings now and then."""
    stack = scene.stack
    users = [f"{scene.run}.r{number}" for number in range(ATTENTIVE + SLOW)]
    talker = f"{scene.run}.t"
    conversation = await _make(scene, talker, users)
    group = Group()
    group.talker = Reader(talker, stack.token(talker), conversation, lambda _, __: None)
    group.readers = [Reader(user, stack.token(user), conversation, group.show) for user in users]
    addresses = [str(node["tcp"]) for node in stack.processes("access")]
    places = asyncio.Semaphore(OPENING_AT_ONCE)

    async def open_one(number: int, reader: Reader) -> None:
        async with places:
            await reader.open(addresses[number % len(addresses)])

    async def ping() -> None:
        while True:
            await asyncio.sleep(PING_S)
            for reader in (group.talker, *group.readers):
                assert reader is not None
                reader.ping()

    try:
        async with asyncio.TaskGroup() as tasks:
            for number, reader in enumerate((group.talker, *group.readers)):
                tasks.create_task(open_one(number, reader))
        async with asyncio.TaskGroup() as tasks:
            pinging = tasks.create_task(ping(), name="pings")
            yield group
            pinging.cancel()
    finally:
        for reader in (group.talker, *group.readers):
            reader.close()


async def _make(scene: Scene, talker: str, users: list[str]) -> str:
    """The group's id."""
    node = scene.stack.processes("access")[0]
    async with connect(Address(node["ws"], node["tcp"]), "tcp") as wire:
        await wire.hello(scene.stack.token(talker), "maker", avoid=_others(scene.stack, node["name"]))
        create = pb.GroupRequest.Create(name="slow readers", members=users[:MEMBERS_STEP])
        made = await wire.request(group=pb.GroupRequest(create=create))
        conversation = str(made.group_info.conversation)
        rest = pb.GroupRequest.Add(conversation=conversation, users=users[MEMBERS_STEP:])
        await wire.request(group=pb.GroupRequest(add=rest))
    return conversation


def _others(stack: Stack, name: str) -> list[str]:
    """The other access nodes, so that the maker may stay on this one."""
    return [str(node["name"]) for node in stack.processes("access") if node["name"] != name]


# ---- what it says


async def _talk(scene: Scene, group: Group, name: str, seconds: float) -> list[float]:
    """Short messages for so long; the milliseconds until each was shown to each of those that read."""
    seen = len(group.shown_ms)
    async with scene.window(name, seconds):
        began = time.monotonic()
        for number in range(int(seconds * TALK_PER_S)):
            await asyncio.sleep(max(0.0, began + number / TALK_PER_S - time.monotonic()))
            await group.say(SHORT_BYTES)
    await _until(lambda: all(reader.shown >= group.head for reader in group.attentive), "not all that read have all")
    return group.shown_ms[seen:]


async def _fill(scene: Scene, group: Group) -> None:
    """Long messages until everyone who does not read is paused."""
    until = time.monotonic() + FILL_S
    while (paused := sum((await _paused_by_node(scene.stack)).values())) < SLOW:
        if time.monotonic() > until:
            raise Broken(f"only {paused} of {SLOW} that do not read were paused")
        for _ in range(int(FILL_PER_S)):
            await group.say(LONG_BYTES)
            await asyncio.sleep(1 / FILL_PER_S)


async def _paused_by_node(stack: Stack) -> dict[str, int]:
    told = await counts_of(stack)
    return {name: int(counts["slow consumers"]) for name, counts in told.items() if "slow consumers" in counts}


def _cost(before: dict[str, float], peak: dict[str, float], paused: dict[str, int]) -> dict[str, tuple[float, float]]:
    """The cost, for each access node: bytes that it grew by for each paused connection, and how many it may."""
    return {
        node: (
            max(0.0, peak[node] - before[node]) / count,
            SLOW_CONSUMER_BYTES + EXTRA_BYTES + EXTRA_NODE_BYTES / count,
        )
        for node, count in paused.items()
        if count and node in before
    }


def _check(group: Group, before: list[float], during: list[float], cost: dict[str, tuple[float, float]]) -> None:
    """Raises Broken with the first promise that was not kept."""
    untold = sum(not reader.paused for reader in group.slow)
    ended = [reader.goodbye for reader in group.readers if reader.goodbye]
    was, is_now = quantile(before, 0.99), quantile(during, 0.99)
    fat = {node: round(each) for node, (each, allowed) in cost.items() if each > allowed}
    rules = (
        (not ended, f"{len(ended)} connections were ended, the first with {ended[:1]}"),
        (not untold, f"{untold} of {SLOW} that did not read were never told that they are paused"),
        (not fat, f"a connection that does not read cost more bytes than the setting: {fat}"),
        (
            is_now <= LATER_SHARE * was + LATER_MS,
            f"those that read waited {is_now:.0f} ms (p99), before {was:.0f} ms",
        ),
    )
    for holds, sentence in rules:
        if not holds:
            raise Broken(sentence)


async def _in_the_end(scene: Scene, group: Group) -> list[record.Event]:
    """Who was in the group, and what it holds."""
    assert group.talker is not None
    conversation = group.talker.group
    node = scene.stack.processes("access")[0]
    messages: list[record.Stored] = []
    async with connect(Address(node["ws"], node["tcp"]), "tcp") as wire:
        await wire.hello(scene.stack.token(group.talker.user), "judge", avoid=_others(scene.stack, node["name"]))
        after, more = 0, True
        while more:
            page = (await wire.request(history=pb.History(conversation=conversation, after=after, limit=200))).page
            messages += [stored(entry.message) for entry in page.entries]
            after, more = page.next, page.more
    members = [record.Member(conversation, reader.user, (DEVICE,)) for reader in group.readers]
    return [*members, record.Read(group.talker.user, conversation, tuple(messages))]


def stored(message: pb.Message) -> record.Stored:
    return record.Stored(
        message.conversation,
        message.seq,
        message.message_id,
        message.sender,
        message.client_id,
        message.content.text[:32],
        message.kind == pb.Message.SYSTEM,
    )


def _percentiles(values: list[float]) -> dict[str, int]:
    return {f"p{share}": round(quantile(values, share / 100)) for share in (50, 99)}


async def _until(there: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + SETTLE_S
    while not there():
        if time.monotonic() > until:
            raise Broken(f"{otherwise} after {SETTLE_S:g} s")
        await asyncio.sleep(POLL_S)
