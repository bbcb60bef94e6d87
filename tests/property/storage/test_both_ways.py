"""Whatever is sent, the plain way and the general way come to the same: outcomes, numbers, what is in the database.

Each example is a history of batches. One cluster stores each batch as the rows of a call, the other as messages, which
never take the plain way.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.memory.conversation import CachedConversation
from services.storage.node import Storage
from tests.unit.storage.nodes import World, change, create, post, send, stored, stored_rows
from tidings_protocol.ids import slot_of

USERS = ("ann", "bob", "cid")
SMALL, LARGE = "g:small", "g:large"


@dataclass(frozen=True)
class Sent:
    """Where: a peer, or a group. `reply_to` may name what there is not, `age` an earlier version of the group."""

    sender: str
    to: str
    client_id: str
    reply_to: int
    age: int


sents = st.builds(
    Sent,
    sender=st.sampled_from(USERS),
    to=st.sampled_from((*USERS, SMALL, LARGE)),
    client_id=st.sampled_from("abcdefgh"),
    reply_to=st.sampled_from((0, 0, 0, 0, 1, 2, 9)),
    age=st.sampled_from((0, 0, 0, 0, 1)),
)
forgets = st.sampled_from(("", "", "conversations", "inboxes", "rename"))
histories = st.lists(st.tuples(st.lists(sents, min_size=1, max_size=8), forgets), min_size=1, max_size=6)


async def _version_of(node: Storage, group: str) -> int:
    found = (await node.conversations.get([group]))[group]
    assert isinstance(found, CachedConversation)
    return found.document.version


async def _item(node: Storage, sent: Sent) -> pb.StoreItem:
    if sent.to in USERS:
        return send(sent.sender, sent.to, sent.client_id, reply_to=sent.reply_to)
    version = await _version_of(node, sent.to) - sent.age
    item = post(sent.to, sent.sender, sent.client_id, version, USERS if sent.to == SMALL else ())
    item.reply_to = sent.reply_to
    return item


def _told(outcome: pb.StoreOutcome) -> tuple[Any, ...]:
    """What must be the same; of what is refused only that it is."""
    if outcome.status in (pb.StoreOutcome.STORED, pb.StoreOutcome.DUPLICATE):
        return (outcome.status, outcome.seq, tuple(outcome.numbers), outcome.content, outcome.read_over)
    return (outcome.status,)


async def _played(history: list[tuple[list[Sent], str]], *, plain: bool, far: bool) -> tuple[list[Any], Any]:
    world = World()
    if far:
        bob = slot_of("bob")
        world.hood.owner_of = lambda slot: "two" if slot == bob else "one"
    told: list[Any] = []
    async with world.node("one") as node, world.node("two"):
        await node.conversations.change([create(SMALL, *USERS), create(LARGE, *USERS, large=True)])
        for sends, forget in history:
            items = [await _item(node, sent) for sent in sends]
            outcomes = await (stored_rows if plain else stored)(node, *items)
            told.append([_told(outcome) for outcome in outcomes])
            if forget == "conversations":
                node.conversations.memory.drop_slots(frozenset(range(4096)))
            elif forget == "inboxes":
                node.inboxes.doubt(USERS)
            elif forget == "rename":
                version = await _version_of(node, SMALL)
                await node.conversations.change([change(SMALL, "ann", f"op{len(told)}", version, name=f"n{len(told)}")])
    data = world.database
    stored_ = {
        key: [(each.seq, each.sender, each.client_id, each.content) for each in sorted(log.values())]
        for key, log in data.messages.items()
    }
    inboxes = {user: [entry[:4] for entry in sorted(box.values())] for user, box in data.inboxes.items()}
    return told, (stored_, inboxes)


async def _both(history: list[tuple[list[Sent], str]], *, far: bool) -> tuple[Any, Any]:
    return await _played(history, plain=True, far=far), await _played(history, plain=False, far=far)


@given(history=histories, far=st.booleans())
def test_both_ways_come_to_the_same(history: list[tuple[list[Sent], str]], far: bool) -> None:
    plain, general = asyncio.run(_both(history, far=far))
    # The order of inbox numbers among conversations may differ: plain rows go first. What each inbox holds does not.
    assert [[each[:2] for each in batch] for batch in plain[0]] == [
        [each[:2] for each in batch] for batch in general[0]
    ]
    assert plain[1][0] == general[1][0]
    for user, box in general[1][1].items():
        assert sorted(entry[2:] for entry in plain[1][1][user]) == sorted(entry[2:] for entry in box)
        for conversation in {entry[2] for entry in box}:
            mine = [entry[3] for entry in plain[1][1][user] if entry[2] == conversation]
            assert mine == sorted(mine)
