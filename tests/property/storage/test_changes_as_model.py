"""Any series of changes, by two nodes that both think they own the chat, whatever fails, folded as a simple model does.

The model reads the log from its beginning: the order is that of the entries, what each of them said is what was asked
for with its client id.
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
from services.storage.folding.fold import mentioned_in
from services.storage.folding.shown import act_in, folded_state
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.repository.memory import Faults
from services.storage.repository.records import CHANGE, StoredMessage
from tests.unit.storage.changing import act, edit_of, pin_of, recall_of, special
from tests.unit.storage.nodes import World, send
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable

CHAT = "d:ann|bob"
USERS = ("ann", "bob")
NODES = ("one", "two")
TRIES_MAX = 12
MENTIONS: tuple[tuple[str, ...], ...] = ((), ("ann",), ("ann", "bob"), ("zoe", "bob"))

Outcome = pb.StoreOutcome


@dataclass(frozen=True)
class Ask:
    """What somebody asks for."""

    what: str
    user: int
    target: int
    client_id: int
    mentions: int

    def item(self) -> pb.StoreItem:
        sender, peer = USERS[self.user], USERS[1 - self.user]
        key, mentions = f"{self.what}{self.client_id}", MENTIONS[self.mentions]
        text = f"{sender} {key}"
        content = client_pb2.Content(text=text, mentions=mentions).SerializeToString()
        match self.what:
            case "send":
                item = special(send(sender, peer, key), mentions=mentions)
                item.content = content
                return item
            case "edit":
                return act(sender, peer, key, edit_of(self.target), content=content, mentions=mentions)
            case "recall":
                return act(sender, peer, key, recall_of(self.target))
            case _:
                return act(sender, peer, key, pin_of(self.target, self.what == "pin"))


@dataclass(frozen=True)
class Batch:
    """One node is asked for these, and this goes wrong."""

    node: int
    asks: Sequence[Ask]
    trouble: str
    amount: int


asks = st.builds(
    Ask,
    st.sampled_from(["send", "send", "edit", "edit", "recall", "pin", "unpin"]),
    st.integers(0, 1),
    st.integers(1, 6),
    st.integers(0, 4),
    st.integers(0, len(MENTIONS) - 1),
)
batches = st.builds(
    Batch,
    st.integers(0, 1),
    st.lists(asks, min_size=1, max_size=5),
    st.sampled_from(["", "", "lose", "refuse", "cut"]),
    st.integers(1, 3),
)
plans = st.lists(st.lists(batches, min_size=1, max_size=2), min_size=1, max_size=5)


@dataclass
class Modelled:
    """A message as the model has it."""

    sender: str
    content: bytes
    mentions: set[str]
    recalled_by: str = ""
    edited: bool = False
    pinned: bool = False
    revision: int = 0
    content_seq: int = 0


@dataclass
class Model:
    messages: dict[int, Modelled] = field(default_factory=dict)
    pinned: list[int] = field(default_factory=list)

    def take(self, entry: StoredMessage, item: pb.StoreItem) -> None:
        """The next entry of the log, which says what was asked for with its client id."""
        named = set(item.special.mentions) & set(USERS)
        if entry.kind != CHANGE:
            self.messages[entry.seq] = Modelled(entry.sender, item.content, named)
            return
        change = act_in(entry.act)
        target = self.messages[change.seq]
        assert not target.recalled_by, "nothing is done to what is recalled"
        target.revision = entry.seq
        match change.WhichOneof("act"):
            case "edit":
                assert target.sender == entry.sender
                target.content, target.mentions = item.content, named
                target.edited, target.content_seq = True, entry.seq
            case "recall":
                assert target.sender == entry.sender
                target.content, target.mentions, target.recalled_by = b"", set(), entry.sender
                target.edited, target.pinned, target.content_seq = False, False, 0
                self.pinned = [seq for seq in self.pinned if seq != change.seq]
            case "pin":
                assert change.pin != target.pinned, "what is so already takes no number"
                target.pinned = change.pin
                self.pinned = [seq for seq in self.pinned if seq != change.seq]
                if change.pin:
                    self.pinned.insert(0, change.seq)


def check(world: World, asked: dict[tuple[str, str], pb.StoreItem]) -> None:
    entries = world.database.messages[CHAT]
    assert sorted(entries) == list(range(1, len(entries) + 1))
    model, changes = Model(), 0
    for seq in sorted(entries):
        entry = entries[seq]
        assert entry.before == changes
        changes += entry.kind == CHANGE
        model.take(entry, asked[entry.sender, entry.client_id])
    for seq, expected in model.messages.items():
        found = entries[seq]
        state = folded_state(found)
        assert found.content == expected.content
        assert set(mentioned_in(found)) == expected.mentions
        assert state.state.revision == expected.revision
        assert (state.state.recalled_by, state.state.pinned) == (expected.recalled_by, expected.pinned)
        assert bool(state.state.edited_ms) == expected.edited
        mine = [each for each in entries.values() if each.kind == CHANGE and act_in(each.act).seq == seq]
        assert [each.seq for each in mine if each.content] == ([expected.content_seq] if expected.content_seq else [])
        where = [user for each in (found, *mine) for user in each.mentions]
        assert sorted(where) == sorted(expected.mentions), "each is mentioned at one place"
    document = world.database.conversations.get(CHAT)
    assert list(document.pinned if document else ()) == model.pinned


async def ask(node: Storage, items: Sequence[pb.StoreItem], seqs: dict[tuple[str, str], int]) -> list[pb.StoreItem]:
    """Notes the seqs of what was answered; gives what has to be asked for again."""
    failed: list[pb.StoreItem] = []
    for item, outcome in zip(items, await node.conversations.store(items), strict=True):
        if isinstance(outcome, TidingsError) or outcome.status == Outcome.FAILED:
            assert not isinstance(outcome, TidingsError) or isinstance(outcome, Unavailable)
            failed.append(item)
        elif outcome.status == Outcome.DUPLICATE or (outcome.status == Outcome.STORED and outcome.message):
            assert seqs.setdefault((item.sender, item.client_id), outcome.seq) == outcome.seq
    return failed


async def run(plan: list[list[Batch]], seed: int) -> None:
    world = World(limits=Limits(flush_interval_s=1e6))
    world.hood.owner_of = lambda _: ""
    rng, faults, nodes = random.Random(seed), [Faults(), Faults()], []
    asked: dict[tuple[str, str], pb.StoreItem] = {}
    seqs: dict[tuple[str, str], int] = {}

    async def interleave(_: str) -> None:
        for _turn in range(rng.randrange(4)):
            await asyncio.sleep(0)

    async with AsyncExitStack() as stack:
        for name, each in zip(NODES, faults, strict=True):
            each.delay = interleave
            nodes.append(await stack.enter_async_context(world.node(name, faults=each)))
        again: list[pb.StoreItem] = []
        for together in plan:
            works = []
            for batch in together:
                items = []
                for one in batch.asks:
                    made = one.item()
                    items.append(asked.setdefault((made.sender, made.client_id), made))
                trouble(faults[batch.node], batch)
                works.append(ask(nodes[batch.node], items, seqs))
            for failed in await asyncio.gather(*works):
                again += failed
        for each in faults:
            heal(each)
        for attempt in range(TRIES_MAX):
            if again:
                again = await ask(nodes[attempt % 2], again, seqs)
        assert not again
    async with world.node("three") as node:
        await node.loads.load([pb.LoadItem(conversation=CHAT)])
    check(world, asked)
    for key, seq in seqs.items():
        entry = world.database.messages[CHAT][seq]
        assert (entry.sender, entry.client_id) == key


def trouble(faults: Faults, batch: Batch) -> None:
    if batch.trouble == "lose":
        faults.lose_answers(batch.amount)
    elif batch.trouble == "refuse":
        faults.refuse(batch.amount)
    elif batch.trouble == "cut":
        faults.cut(batch.amount)


def heal(faults: Faults) -> None:
    faults.refuse(-faults._refusals)
    faults.lose_answers(-faults._lost)
    faults.take_cut()


@given(plans, st.integers(0, 2**32))
def test_changes_come_to_what_the_log_says_whoever_writes_and_whatever_fails(
    plan: list[list[Batch]], seed: int
) -> None:
    asyncio.run(run(plan, seed))
