"""Whatever is sent as columns ends as it would have ended as items, and what is plain is stored and told once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from protos.tidings.internal.v1 import logic_pb2
from tests.unit.logic.harness import Logic, body, logic, message
from tidings_protocol.errors import Internal

DIRECT = ("d:u0|u1", "d:u1|u1", "d:u0|u2")
CONVERSATIONS = (*DIRECT, "g:small", "g:small", "g:other", "g:large", "g:channel", "g:none", "b:all", "nonsense")


class Row(NamedTuple):
    sender: str
    conversation: str
    client_id: int
    reply_to: int


rows = st.builds(
    Row,
    st.sampled_from(["u0", "u1", "u2", "u3"]),
    st.sampled_from(CONVERSATIONS),
    st.integers(0, 40),
    st.sampled_from([0, 0, 0, 1, 7]),
)
# Before each batch somebody comes into the group or is out of it, or storage fails to take columns.
happens = st.sampled_from(["nothing", "nothing", "u3 in", "u2 out", "u1 out", "defect"])
batches = st.lists(st.tuples(happens, st.lists(rows, max_size=12)), max_size=5)


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


def prepare(node: Logic) -> None:
    node.storage.group("g:small", "u0", "u1", "u2")
    node.storage.group("g:other", "u1", "u3")
    node.storage.group("g:large", "u0", "u1", large_from=1)
    node.storage.group("g:channel", "u0", "u1", channel=True)


def happen(node: Logic, what: str) -> None:
    """Something of which logic's memory does not know."""
    there = node.storage.conversations["g:small"]
    user, _, kind = what.partition(" ")
    if kind == "in" and user not in there.members:
        there.join(user)
    elif kind == "out" and user in there.members:
        del there.members[user]
        there.record.version += 1


def shown(outcome: logic_pb2.SendOutcome) -> tuple[str, int, int, bool]:
    """An outcome up to inbox numbers: these depend on what else is sent meanwhile."""
    return (outcome.fault.code, outcome.seq, outcome.time_ms, outcome.duplicate)


async def live(script: Sequence[tuple[str, Sequence[Row]]]) -> None:
    repeats: Counter[tuple[str, int]] = Counter()
    async with logic() as as_rows, logic() as as_items:
        for node in (as_rows, as_items):
            prepare(node)
        for number, (what, batch) in enumerate(script):
            for node in (as_rows, as_items):
                happen(node, what)
            if what == "defect":
                as_rows.storage.fail["StoreRows"] = [Internal("no columns here")]
            items = items_of(number, batch)
            outcomes = await as_rows.send_rows(*items)
            as_rows.storage.fail.clear()
            expected = await as_items.send(*items)
            assert [shown(outcome) for outcome in outcomes] == [shown(outcome) for outcome in expected]
            check_numbers(as_rows, items, outcomes)
            repeats.update(
                (item.conversation, outcome.seq)
                for item, outcome in zip(items, outcomes, strict=True)
                if outcome.duplicate
            )
        assert logs_of(as_rows) == logs_of(as_items)
        assert {user: sorted(inbox) for user, inbox in as_rows.storage.inboxes.items()} == {
            user: sorted(inbox) for user, inbox in as_items.storage.inboxes.items()
        }
    check_pushes(as_rows, repeats)


def logs_of(node: Logic) -> dict[str, list[bytes]]:
    """What each conversation holds, in its order."""
    there = node.storage.conversations.items()
    return {name: [item.content for item in each.messages] for name, each in there if each.messages}


def check_numbers(node: Logic, items: Sequence[logic_pb2.SendItem], outcomes: Sequence[logic_pb2.SendOutcome]) -> None:
    """A sender's number is that of the message in their inbox."""
    for item, outcome in zip(items, outcomes, strict=True):
        if outcome.number:
            entry = (item.conversation, outcome.seq)
            assert node.storage.inboxes[item.sender][outcome.number - 1] == entry
        else:
            assert outcome.HasField("fault") or outcome.duplicate or item.conversation == "g:large"


def check_pushes(node: Logic, repeats: Counter[tuple[str, int]]) -> None:
    """Every entry of an inbox is pushed once, and once more for each repeat, in the order of its conversation."""
    pushed: dict[str, list[tuple[int, str, int]]] = {}
    for push in node.pushes():
        told = body(push)
        for user, number in zip(push.users, push.numbers, strict=True):
            pushed.setdefault(user, []).append((number, told.conversation, told.seq))
    for user, inbox in node.storage.inboxes.items():
        times = Counter(pushed.get(user, []))
        assert times == Counter({(number, *entry): 1 + repeats[entry] for number, entry in enumerate(inbox, 1)})
        for conversation in {entry[0] for entry in inbox}:
            seqs = [seq for _, told, seq in dict.fromkeys(pushed[user]) if told == conversation]
            assert seqs == sorted(seqs)


@settings(max_examples=150, deadline=None)
@given(batches)
def test_columns_end_as_items_do(script: list[tuple[str, list[Row]]]) -> None:
    asyncio.run(live(script))
