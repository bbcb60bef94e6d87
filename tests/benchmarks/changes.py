"""What a change of a message costs beside a plain send: `python -m tests.benchmarks.changes [--page FILE.md]`.

A logic node and a storage node in this process, on a mongod of its own; what is published goes to the twin of Kafka.
Told are a send, a send with a mention, an edit, a recall, a pin, and a reaction that is announced at once or gathered:
one at a time, and fifty in one call, each in a conversation of its own, in direct chats and in groups of 20. Then a
page of a conversation with changed messages beside one without, and a list of conversations with unread messages beside
one without.

All kinds have their turns one after the other, since the machine's speed changes; the first round does not count. CPU
is that of this process and of mongod. What a gathered reaction leaves for later, one entry for all of a second, is not
in its row.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil
import uvloop

from protos.tidings.internal.v1 import logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from protos.tidings.internal.v1.common_pb2 import Special
from services.common.clock import SystemClock
from services.common.lifecycle import freeze_garbage
from services.common.special import note_content, special_of
from services.storage.app import SWITCH_INTERVAL_S
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.owners.peers import NoPeers
from services.storage.repository.mongo.connection import connected
from services.storage.repository.mongo.repository import ensure_schema, mongo_repository
from services.storage.rpc import StorageServicer
from services.storage.wiring import open_storage
from tests.support.cluster.mongod import Mongod
from tests.unit.logic.harness import Logic, logic
from tests.unit.logic.on_storage import Called
from tests.unit.storage.nodes import NO_CONTEXT, create
from tidings_protocol.client_pb2 import Change, Content
from tidings_protocol.ids import direct
from tools.make.pages.performance import put, table

TOGETHER = 50  # conversations
ALONE = 10  # of them have one act at a time
MEMBERS = 20
ROUNDS = 4
READS = 20  # of a page, in each round
PAGE = 50
CHANGED = 10
UNREAD = 20  # messages of a conversation
TEXT = "x" * 128
SEND, MENTION, EDIT, RECALL, PIN, AT_ONCE, GATHERED = (
    "a send",
    "a send with a mention",
    "an edit",
    "a recall",
    "a pin",
    "a reaction that is announced at once",
    "a reaction that is gathered",
)
KINDS = (SEND, MENTION, EDIT, RECALL, PIN, AT_ONCE, GATHERED)
PAGES = {
    "plain": f"a page of {PAGE} messages",
    "changed": f"the same, {CHANGED} of them were edited",
    "read": f"a list of {PAGE} conversations, all read",
    "unread": f"the same, {UNREAD} unread messages in each",
}

SendItem = logic_pb2.SendItem


@dataclass(slots=True)
class Cost:
    """What one kind of work took: each time it was done alone, and the CPU of one, in ms."""

    alone_ms: list[float] = field(default_factory=list)
    alone_cpu_ms: list[float] = field(default_factory=list)
    together_cpu_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation, with who writes there and who answers."""

    conversation: str
    sender: str
    other: str


class Bench:
    """A logic node on a storage node; `mongod` is its process id."""

    def __init__(self, logic: Logic, storage: Storage, mongod: int) -> None:
        self._logic = logic
        self._storage = storage
        self._mongod = psutil.Process(mongod)
        self._count = itertools.count(1)
        self.costs: dict[tuple[str, str], Cost] = {}

    def forget(self) -> None:
        self.costs.clear()

    # ---- acts

    async def acts(self, place: str, chats: Sequence[Chat]) -> None:
        for kind in KINDS:
            cost = self.costs.setdefault((place, kind), Cost())
            items = await self._prepared(kind, chats[:ALONE])
            used = self._cpu_s()
            for item in items:
                began = time.perf_counter()
                await self._send([item])
                cost.alone_ms.append((time.perf_counter() - began) * 1000)
            await self._logic.all_told()
            cost.alone_cpu_ms.append((self._cpu_s() - used) * 1000 / len(items))
            items = await self._prepared(kind, chats)
            used = self._cpu_s()
            await self._send(items)
            await self._logic.all_told()
            cost.together_cpu_ms.append((self._cpu_s() - used) * 1000 / len(items))
        await asyncio.sleep(2 * Limits().reaction_gather_s)  # what is gathered is told, and is no cost of what follows

    async def _prepared(self, kind: str, chats: Sequence[Chat]) -> list[SendItem]:
        """What is to be done in each of the chats; a change has a message of its own, which is there."""
        if kind in {SEND, MENTION}:
            return [self._message(chat, mentions=kind == MENTION) for chat in chats]
        seqs = await self._send([self._message(chat) for chat in chats])
        if kind == GATHERED:
            await self._send(
                [self._change(chat.sender, chat, AT_ONCE, seq) for chat, seq in zip(chats, seqs, strict=True)]
            )
        await self._logic.all_told()
        who = [chat.other if kind in {AT_ONCE, GATHERED} else chat.sender for chat in chats]
        return [self._change(user, chat, kind, seq) for user, chat, seq in zip(who, chats, seqs, strict=True)]

    def _message(self, chat: Chat, *, mentions: bool = False) -> SendItem:
        content = Content(text=TEXT, mentions=[chat.other] if mentions else ())
        return self._item(chat.sender, chat, content.SerializeToString(), special_of(content))

    def _change(self, user: str, chat: Chat, kind: str, seq: int) -> SendItem:
        change, special, content = Change(seq=seq), Special(), b""
        if kind == EDIT:
            change.edit.SetInParent()
            edited = Content(text=f"{TEXT}, edited")
            content = edited.SerializeToString()
            note_content(special, edited)
        elif kind == RECALL:
            change.recall.SetInParent()
        elif kind == PIN:
            change.pin = True
        else:
            change.react = "👍"
        special.change = change.SerializeToString()
        return self._item(user, chat, content, special)

    def _item(self, user: str, chat: Chat, content: bytes, special: Special | None) -> SendItem:
        return SendItem(
            sender=user,
            session=f"session-of-{user}",
            conversation=chat.conversation,
            client_id=f"{next(self._count):024}",
            content=content,
            special=special,
            accepted_ms=time.time_ns() // 1_000_000,
        )

    async def _send(self, items: Sequence[SendItem]) -> list[int]:
        """Sends them in one call, as an access node does."""
        outcomes = await self._logic.send_rows(*items)
        faults = [outcome.fault.message for outcome in outcomes if outcome.HasField("fault")]
        assert not faults, faults[0]
        return [outcome.seq for outcome in outcomes]

    # ---- reads

    async def pages_before(self) -> None:
        """Two chats as long as a page, one of them with changes; and the conversations of the lists."""
        for user, changed in (("plain", 0), ("changed", CHANGED)):
            chat = Chat(direct(user, "peer"), user, "peer")
            seqs = [seq for _ in range(PAGE) for seq in await self._send([self._message(chat)])]
            await self._send([self._change(user, chat, EDIT, seq) for seq in seqs[:: PAGE // CHANGED][:changed]])
        for user in ("read", "unread"):
            for number in range(PAGE):
                peer = f"{user}-peer{number:02}"
                chat = Chat(direct(user, peer), peer, user)
                for _ in range(UNREAD):
                    await self._send([self._message(chat)])
                if user == "read":
                    mark = pb.MarkItem(conversation=chat.conversation, user=user, read_seq=UNREAD)
                    await self._storage.cursors.mark([mark])

    async def reads(self) -> None:
        for user in PAGES:
            cost = self.costs.setdefault(("reads", user), Cost())
            used = self._cpu_s()
            for _ in range(READS):
                began = time.perf_counter()
                await (self._page(user) if user in {"plain", "changed"} else self._list(user))
                cost.alone_ms.append((time.perf_counter() - began) * 1000)
            cost.alone_cpu_ms.append((self._cpu_s() - used) * 1000 / READS)

    async def _page(self, user: str) -> None:
        item = pb.HistoryItem(conversation=direct(user, "peer"), before=PAGE + 1, limit=PAGE, user=user)
        (page,) = await self._storage.pages.history([item])
        assert len(page.entries) == PAGE, len(page.entries)

    async def _list(self, user: str) -> None:
        (page,) = await self._storage.lists.pages([pb.ConversationsItem(user=user, limit=PAGE)])
        assert len(page.entries) == PAGE, page.fault
        unread = UNREAD if user == "unread" else 0
        assert all(entry.unread == unread for entry in page.entries), page.entries[0]

    def _cpu_s(self) -> float:
        own, theirs = resource.getrusage(resource.RUSAGE_SELF), self._mongod.cpu_times()
        return own.ru_utime + own.ru_stime + theirs.user + theirs.system


@asynccontextmanager
async def bench_of(folder: Path) -> AsyncIterator[Bench]:
    mongod, clock = Mongod(folder), SystemClock()
    await mongod.start()
    try:
        async with connected(
            mongod.uri, "changes", clock, timeout_s=60, connections_max=32, name="changes"
        ) as connection:
            await ensure_schema(connection)
            async with open_storage(mongo_repository(connection), NoPeers(), clock, Limits()) as node:
                servicer = StorageServicer(node)
                groups = [create(f"g:{number}", *_members(number)) for number in range(TOGETHER)]
                made = await servicer.Change(pb.ChangeBatch(items=groups), NO_CONTEXT)
                assert all(outcome.status == pb.ChangeOutcome.DONE for outcome in made.outcomes)
                async with logic(storage=Called(servicer), clock=cast("Any", clock)) as logic_node:
                    yield Bench(logic_node, node, mongod.pid)
    finally:
        await mongod.stop()


def _members(group: int) -> list[str]:
    return [f"member{group:02}-{number:02}" for number in range(MEMBERS)]


async def measured(rounds: int) -> Bench:
    direct_chats = [
        Chat(direct(f"ann{number}", f"bob{number}"), f"ann{number}", f"bob{number}") for number in range(TOGETHER)
    ]
    groups = [Chat(f"g:{number}", *_members(number)[:2]) for number in range(TOGETHER)]
    with tempfile.TemporaryDirectory() as folder:
        async with bench_of(Path(folder)) as bench:
            await bench.pages_before()
            freeze_garbage()
            for number in range(1 + rounds):
                await bench.acts("direct", direct_chats)
                await bench.acts("group", groups)
                await bench.reads()
                if not number:
                    bench.forget()
            return bench


def tables_of(costs: dict[tuple[str, str], Cost]) -> str:
    """What was measured, in two tables."""
    middle: Callable[[list[float]], float] = statistics.median
    mean: Callable[[list[float]], float] = statistics.mean
    acts = []
    for kind in KINDS:
        row = [kind]
        for place in ("direct", "group"):
            cost, plain = costs[place, kind], costs[place, SEND]
            each = mean(cost.together_cpu_ms)  # a median would hide the kernel's ticks of 10 ms
            row += [
                f"{middle(cost.alone_ms):.2f} ms",
                f"{mean(cost.alone_cpu_ms):.2f} ms",
                f"{each:.3f} ms",
                f"{each / mean(plain.together_cpu_ms):.1f}",
            ]
        acts.append(row)
    titles = ["p50", "CPU", f"CPU of one of {TOGETHER}", "to a send"]
    reads = []
    for user, shown in PAGES.items():
        cost = costs["reads", user]
        reads.append([shown, f"{middle(cost.alone_ms):.2f} ms", f"{mean(cost.alone_cpu_ms):.2f} ms"])
    return "\n".join(
        (
            table(["what is done", *(f"{place}: {title}" for place in ("direct", "group") for title in titles)], acts),
            table(["what is read", "p50", "CPU"], reads),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--page", type=Path, help="write the tables between their marks")
    arguments = parser.parse_args()
    shown = tables_of(uvloop.run(measured(arguments.rounds)).costs)
    sys.stdout.write(shown)
    if arguments.page:
        arguments.page.write_text(put(arguments.page.read_text(), {"changes": shown}))


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    main()
