"""Whatever is sent as columns ends as it would have ended as items, and what is plain is stored and told once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, TypeVar

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from tests.unit.logic.harness import Logic, body, logic, message
from tests.unit.logic.on_storage import on_storage
from tests.unit.storage.nodes import change, create
from tidings_protocol import client_pb2

M = TypeVar("M", bound=Message)
SMALL = "g:small"
PLACES = (
    "d:u0|u1",
    "d:u1|u1",
    "d:u0|u2",
    SMALL,
    SMALL,
    "g:other",
    "g:large",
    "g:channel",
    "g:none",
    "b:all",
    "nonsense",
)
USERS = ("u0", "u1", "u2", "u3")


class Row(NamedTuple):
    sender: str
    conversation: str
    client_id: int
    reply_to: int


rows = st.builds(
    Row, st.sampled_from(USERS), st.sampled_from(PLACES), st.integers(0, 40), st.sampled_from([0, 0, 0, 1, 7])
)
# Before each batch somebody comes into the small group or is out of it, and logic's memory does not know.
happens = st.sampled_from(["nothing", "nothing", "u3 in", "u2 out", "u1 out"])
Script = list[tuple[str, list[Row]]]
scripts = st.lists(st.tuples(happens, st.lists(rows, max_size=12)), max_size=5)


class Cluster:
    """A logic node, and groups that are changed behind its back."""

    def __init__(self, node: Logic) -> None:
        self.node = node
        self._members = ["u0", "u1", "u2"]
        self._version = 1

    async def prepare(self) -> None:
        channel = create("g:channel", "u0", "u1")
        channel.settings.channel = True
        large = create("g:large", "u0", "u1", large=True)
        for group in (create(SMALL, *self._members), create("g:other", "u1", "u3"), large, channel):
            await self._change(group)

    async def happen(self, what: str, number: int) -> None:
        user, _, where = what.partition(" ")
        if where == "in" and user not in self._members:
            self._members.append(user)
            joins, removed = [user], []
        elif where == "out" and user in self._members:
            self._members.remove(user)
            joins, removed = [], [user]
        else:
            return
        op = f"op {number}"
        notices = [self._members]
        await self._change(change(SMALL, "u0", op, self._version, joins=joins, removed=removed, notices=notices))
        self._version += 1

    async def log_of(self, conversation: str) -> list[tuple[int, str, str]]:
        """(seq, sender, text) of each message."""
        batch = pb.HistoryBatch(items=[pb.HistoryItem(conversation=conversation, after=0, limit=200, bytes_max=2**20)])
        [page] = (await self._ask("History", batch, pb.PageOutcomes)).outcomes
        messages = [client_pb2.Message.FromString(entry.message) for entry in page.entries]
        return [(each.seq, each.sender, each.content.text) for each in messages]

    async def inbox_of(self, user: str) -> dict[int, tuple[str, int]]:
        """The conversation and seq at each number."""
        batch = pb.InboxBatch(items=[pb.InboxItem(user=user, limit=400, bytes_max=2**20)])
        [page] = (await self._ask("Inbox", batch, pb.PageOutcomes)).outcomes
        messages = [(entry.number, client_pb2.Message.FromString(entry.message)) for entry in page.entries]
        return {number: (each.conversation, each.seq) for number, each in messages}

    async def _change(self, item: pb.ChangeItem) -> None:
        outcomes = await self._ask("Change", pb.ChangeBatch(items=[item]), pb.ChangeOutcomes)
        assert [outcome.status for outcome in outcomes.outcomes] == [pb.ChangeOutcome.DONE]

    async def _ask(self, method: str, request: Message, reply: type[M]) -> M:
        path = f"/tidings.internal.v1.Storage/{method}"
        return await self.node.storage.call(0, path, request, reply, timeout_s=5, budget_s=5)


def items_of(number: int, batch: Sequence[Row]) -> list[logic_pb2.SendItem]:
    """The rows of one batch; the text of each is another, so that a repeat can be told from what was stored first."""
    return [
        message(
            row.sender,
            row.conversation,
            f"{number}.{place}",
            client_id=str(row.client_id),
            session=f"session of {row.sender}",
            reply_to=row.reply_to,
            accepted_ms=place,
        )
        for place, row in enumerate(batch)
    ]


def shown(outcome: logic_pb2.SendOutcome) -> tuple[str, int, bool]:
    """An outcome up to inbox numbers, which depend on what else is sent meanwhile, and times."""
    return (outcome.fault.code, outcome.seq, outcome.duplicate)


def a_node(storage: str) -> AbstractAsyncContextManager[Logic]:
    return on_storage() if storage == "real" else logic()


async def live(storage: str, script: Script) -> None:
    sent: Counter[tuple[str, int]] = Counter()
    repeats: Counter[tuple[str, int]] = Counter()
    async with a_node(storage) as one, a_node(storage) as other:
        as_rows, as_items = Cluster(one), Cluster(other)
        for cluster in (as_rows, as_items):
            await cluster.prepare()
        for number, (what, batch) in enumerate(script):
            for cluster in (as_rows, as_items):
                await cluster.happen(what, number)
            items = items_of(number, batch)
            outcomes = await one.send_rows(*items)
            expected = await other.send(*items)
            assert [shown(outcome) for outcome in outcomes] == [shown(outcome) for outcome in expected]
            await check_numbers(as_rows, items, outcomes)
            for item, outcome in zip(items, outcomes, strict=True):
                (repeats if outcome.duplicate else sent)[item.conversation, outcome.seq] += 1
        for conversation in set(PLACES) - {"nonsense", "g:none"}:
            assert await as_rows.log_of(conversation) == await as_items.log_of(conversation)
        inboxes = {user: await as_rows.inbox_of(user) for user in USERS}
        for user, inbox in inboxes.items():
            assert sorted(inbox.values()) == sorted((await as_items.inbox_of(user)).values())
    check_pushes(one.pushes(), inboxes, sent, repeats)


async def check_numbers(
    cluster: Cluster, items: Sequence[logic_pb2.SendItem], outcomes: Sequence[logic_pb2.SendOutcome]
) -> None:
    """A sender's number is that of the message in their inbox."""
    for item, outcome in zip(items, outcomes, strict=True):
        if outcome.number:
            assert (await cluster.inbox_of(item.sender))[outcome.number] == (item.conversation, outcome.seq)
        else:
            assert outcome.HasField("fault") or outcome.duplicate or item.conversation == "g:large"


def check_pushes(
    pushes: Sequence[delivery_pb2.Push],
    inboxes: dict[str, dict[int, tuple[str, int]]],
    sent: Counter[tuple[str, int]],
    repeats: Counter[tuple[str, int]],
) -> None:
    """A message is pushed once to each inbox, or again with each repeat, in the order of its conversation."""
    pushed: dict[str, list[tuple[int, tuple[str, int]]]] = {user: [] for user in inboxes}
    for push in pushes:
        told = body(push)
        for user, number in zip(push.users, push.numbers, strict=True):
            pushed[user].append((number, (told.conversation, told.seq)))
    for user, told_of in pushed.items():
        for (number, entry), times in Counter(told_of).items():
            assert inboxes[user][number] == entry
            assert times <= 1 + repeats[entry]
        normal = {entry for entry in inboxes[user].values() if entry in sent}
        assert normal <= {entry for _, entry in told_of}
        for conversation in set(PLACES):
            seqs = [seq for _, (name, seq) in dict.fromkeys(told_of) if name == conversation]
            assert seqs == sorted(seqs)


@pytest.mark.parametrize("storage", ["real", "fake"])
@settings(max_examples=60, deadline=None)
@given(script=scripts)
def test_columns_end_as_items_do(storage: str, script: Script) -> None:
    asyncio.run(live(storage, script))
