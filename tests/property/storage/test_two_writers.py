"""Several nodes that all think they own everything, on one database that fails at random: what holds all the same.

Every example is a plan: who sends what, in which batches at the same time, and which commands fail how. At the end
everything that was not acknowledged is sent again, as its client would do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.repository.memory import Database, Faults
from services.storage.repository.records import MemberKey, StoredMessage
from tests.unit.storage.nodes import World, change, create, post, send, stored_rows
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import peers

NODES = ("one", "two", "three")
USERS = ("ann", "bob", "cid", "dan")
GROUP = "g:1"
ROUNDS_MAX = 60


@dataclass(frozen=True)
class Batch:
    """What one node is given at once; `trouble` is what goes wrong meanwhile. `rows`: as the rows of a call."""

    node: int
    sends: tuple[tuple[int, int, int], ...]  # sender, peer, client id
    trouble: str
    amount: int
    rows: bool = False


batches = st.builds(
    Batch,
    node=st.integers(0, len(NODES) - 1),
    sends=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=6).map(
        tuple
    ),
    trouble=st.sampled_from(["", "", "lose", "refuse", "cut"]),
    amount=st.integers(0, 4),
    rows=st.booleans(),
)
plans = st.lists(st.lists(batches, min_size=1, max_size=3), min_size=1, max_size=6)


@dataclass
class Nodes:
    """Nodes that do not agree on who owns what: each thinks that it owns everything."""

    world: World
    nodes: list[Storage] = field(default_factory=list)
    faults: list[Faults] = field(default_factory=list)

    async def start(self, stack: AsyncExitStack, seed: int) -> None:
        rng = random.Random(seed)

        async def interleave(command: str) -> None:
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)

        for node in NODES:
            faults = Faults()
            faults.delay = interleave
            self.faults.append(faults)
            self.nodes.append(await stack.enter_async_context(self.world.node(node, faults=faults)))

    def trouble(self, batch: Batch) -> None:
        faults = self.faults[batch.node]
        if batch.trouble == "lose":
            faults.lose_answers(batch.amount)
        elif batch.trouble == "refuse":
            faults.refuse(batch.amount)
        elif batch.trouble == "cut":
            faults.cut(batch.amount)

    def heal(self) -> None:
        for faults in self.faults:
            faults.refuse(-faults._refusals)
            faults.lose_answers(-faults._lost)
            faults.take_cut()


def world() -> World:
    world = World(limits=Limits(flush_interval_s=1e6, inbox_lanes=2, inbox_tail=16))
    world.hood.owner_of = lambda _: ""
    return world


def item_of(one: tuple[int, int, int]) -> pb.StoreItem:
    sender, peer, client_id = one
    return send(USERS[sender], USERS[peer], f"c{client_id}", f"{sender} {peer} {client_id}")


async def outcomes(
    node: Storage, items: Sequence[pb.StoreItem], *, rows: bool
) -> Sequence[pb.StoreOutcome | TidingsError]:
    """What becomes of messages, or of the rows of a call."""
    if not rows:
        return await node.conversations.store(items)
    try:
        return await stored_rows(node, *items)
    except TidingsError as error:
        return [error] * len(items)


async def store(
    database: Database,
    node: Storage,
    items: Sequence[pb.StoreItem],
    seqs: dict[tuple[str, str, str], set[int]],
    *,
    rows: bool,
) -> list[pb.StoreItem]:
    """Notes what was acknowledged, which must be in every inbox at that moment; gives what was not."""
    failed = []
    for item, outcome in zip(items, await outcomes(node, items, rows=rows), strict=True):
        if isinstance(outcome, TidingsError) or outcome.status == pb.StoreOutcome.FAILED:
            assert not isinstance(outcome, TidingsError) or isinstance(outcome, Unavailable)
            failed.append(item)
        else:
            assert outcome.status in (pb.StoreOutcome.STORED, pb.StoreOutcome.DUPLICATE)
            seqs.setdefault((item.conversation, item.sender, item.client_id), set()).add(outcome.seq)
            for user in peers(item.conversation):
                entries = database.inboxes[user].values()
                assert (item.conversation, outcome.seq) in {(each.conversation, each.seq) for each in entries}
    return failed


async def run_sends(plan: list[list[Batch]], seed: int) -> None:
    there = Nodes(world())
    seqs: dict[tuple[str, str, str], set[int]] = {}
    sent: set[tuple[str, str, str]] = set()
    async with AsyncExitStack() as stack:
        await there.start(stack, seed)
        again: list[pb.StoreItem] = []
        for together in plan:
            jobs = []
            for batch in together:
                items = [item_of(one) for one in batch.sends]
                sent |= {(item.conversation, item.sender, item.client_id) for item in items}
                there.trouble(batch)
                jobs.append(store(there.world.database, there.nodes[batch.node], items, seqs, rows=batch.rows))
            for failed in await asyncio.gather(*jobs):
                again += failed
        there.heal()
        for attempt in range(ROUNDS_MAX):
            if not again:
                break
            again = await store(there.world.database, there.nodes[attempt % len(NODES)], again, seqs, rows=False)
        assert not again, "what fails no more is stored at last"
    check_sends(there.world, seqs, sent)


def check_sends(world: World, seqs: dict[tuple[str, str, str], set[int]], sent: set[tuple[str, str, str]]) -> None:
    database = world.database
    for conversation, messages in database.messages.items():
        assert sorted(messages) == list(range(1, len(messages) + 1)), "numbers are dense"
        assert len({(m.sender, m.client_id) for m in messages.values()}) == len(messages), "each send is one message"
        assert {(conversation, m.sender, m.client_id) for m in messages.values()} <= sent
        for user in set(peers(conversation)):
            entries = [e for _, e in sorted(database.inboxes[user].items()) if e.conversation == conversation]
            assert [entry.seq for entry in entries] == sorted(messages), "each member has each message once, in order"
    for key, found in seqs.items():
        assert len(found) == 1, "a retry gives the first number"
        (seq,) = found
        message = database.messages[key[0]][seq]
        assert (message.sender, message.client_id) == key[1:]
    assert seqs.keys() == sent
    for user, inbox in database.inboxes.items():
        assert sorted(inbox) == list(range(1, len(inbox) + 1)), f"the inbox of {user} is dense"


@given(plans, st.integers(0, 2**32))
def test_messages_are_dense_unique_and_delivered_once_whoever_writes_and_whatever_fails(
    plan: list[list[Batch]], seed: int
) -> None:
    asyncio.run(run_sends(plan, seed))


# ---- groups


@dataclass(frozen=True)
class Step:
    """One node changes the group, or somebody posts there."""

    node: int
    act: str
    user: int
    trouble: str
    amount: int
    rows: bool = False


steps = st.builds(
    Step,
    node=st.integers(0, len(NODES) - 1),
    act=st.sampled_from(["post", "post", "join", "remove", "rename"]),
    user=st.integers(1, len(USERS) - 1),
    trouble=st.sampled_from(["", "", "lose", "refuse", "cut"]),
    amount=st.integers(0, 3),
    rows=st.booleans(),
)


@dataclass
class Client:
    """Plays logic: loads, decides, stores, and begins anew when it is told that this was stale."""

    there: Nodes

    async def members(self, node: Storage) -> tuple[int, list[str]] | None:
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=GROUP)])
        if loaded.HasField("fault"):
            return None
        return loaded.record.version, sorted(member.user for member in loaded.members)

    async def do(self, step: Step, op: str) -> None:
        """Until it is done, with the same op; on another node at each try."""
        for attempt in range(ROUNDS_MAX):
            node = self.there.nodes[(step.node + attempt) % len(NODES)]
            found = await self.members(node)
            if found is not None and await self._try(node, step, op, *found):
                return
        raise AssertionError("what fails no more is done at last")

    async def _try(self, node: Storage, step: Step, op: str, version: int, members: list[str]) -> bool:
        user = USERS[step.user]
        if step.act == "post":
            sender = user if user in members else "ann"
            (stored,) = await outcomes(node, [post(GROUP, sender, op, version, members)], rows=step.rows)
            return not isinstance(stored, TidingsError) and stored.status in (
                pb.StoreOutcome.STORED,
                pb.StoreOutcome.DUPLICATE,
            )
        everyone = sorted({*members, user})
        if step.act == "join":
            if user in members:
                return True
            item = change(GROUP, "ann", op, version, joins=[user], notices=[everyone])
        elif step.act == "remove":
            if user not in members:
                return True
            item = change(GROUP, "ann", op, version, removed=[user], notices=[everyone])
        else:
            item = change(GROUP, "ann", op, version, notices=[members, members], name=op)
        (outcome,) = await node.conversations.change([item])
        return not isinstance(outcome, TidingsError) and outcome.status == pb.ChangeOutcome.DONE


async def run_group(plan: list[list[Step]], seed: int) -> None:
    there = Nodes(world())
    async with AsyncExitStack() as stack:
        await there.start(stack, seed)
        client = Client(there)
        (made,) = await there.nodes[0].conversations.change([create(GROUP, "ann", "bob")])
        assert not isinstance(made, TidingsError)
        number = 0
        for together in plan:
            jobs = []
            for step in together:
                number += 1
                there.trouble(Batch(step.node, (), step.trouble, step.amount))
                jobs.append(client.do(step, f"op{number}"))
            await asyncio.gather(*jobs)
        there.heal()
        (settled,) = await there.nodes[0].loads.load([pb.LoadItem(conversation=GROUP)])
        assert not settled.HasField("fault")
    await check_group(there.world)


async def check_group(world: World) -> None:
    """Replays the messages of the group: who was a member when, and so who has which entries."""
    async with world.node("last") as node:
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=GROUP)])
        members = {member.user for member in loaded.members}
    database = world.database
    messages = [database.messages[GROUP][seq] for seq in sorted(database.messages[GROUP])]
    assert [message.seq for message in messages] == list(range(1, len(messages) + 1))
    now, expected, version, name = replay(messages)
    assert members == now
    document = database.conversations[GROUP]
    assert (document.member_count, document.version, document.name) == (len(now), version, name)
    for user in USERS:
        entries = [entry.seq for _, entry in sorted(database.inboxes[user].items())]
        assert entries == expected[user], f"{user} has each message that was for them once, in order"
    found = await database.repository().members.find([MemberKey(GROUP, user) for user in USERS])
    assert {key.user for key in found} == now


def replay(messages: Sequence[StoredMessage]) -> tuple[set[str], dict[str, list[int]], int, str]:
    now: set[str] = set()
    expected: dict[str, list[int]] = {user: [] for user in USERS}
    version, name = 0, ""
    for message in messages:
        recipients = set(now)
        if message.change:
            made = pb.ChangeItem.FromString(message.change)
            recipients = set(made.notices[0].recipients)
            if made.op:
                version, name = version + 1, made.settings.name
                now = (now | {record.user for record in made.set}) - set(made.removed)
        for user in recipients:
            expected[user].append(message.seq)
    return now, expected, version, name


@given(st.lists(st.lists(steps, min_size=1, max_size=3), min_size=1, max_size=5), st.integers(0, 2**32))
def test_groups_are_what_their_notices_say_whoever_changes_them_and_whatever_fails(
    plan: list[list[Step]], seed: int
) -> None:
    asyncio.run(run_group(plan, seed))
