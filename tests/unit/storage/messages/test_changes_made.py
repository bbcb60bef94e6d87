"""Changes of groups that were made, found by their op."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.messages.changes_made import ChangesMade
from services.storage.node import Storage
from services.storage.repository.records import OpKey
from tests.unit.storage.nodes import World, change, changed, create, members_of

Outcome = pb.ChangeOutcome
G = "g:1"


async def record_of(node: Storage, group: str = G) -> pb.ConversationRecord:
    (loaded,) = await node.loads.load([pb.LoadItem(conversation=group)])
    return loaded.record


@pytest.mark.parametrize("others", [0, 3])
async def test_a_quiet_change_that_was_made_is_not_made_again_however_many_followed(others: int) -> None:
    world = World()
    add = change(G, "ann", "add", 1, joins=["bob"], keep_version=True)
    async with world.node() as node:
        await changed(node, create(G, "ann", large=True))
        await changed(node, add)
        await changed(node, change(G, "bob", "leave", 1, removed=["bob"]))
        for number in range(others):
            await changed(node, change(G, f"u{number}", "join", 2, joins=[f"u{number}"], keep_version=True))
        assert (await changed(node, add)).status == Outcome.DONE
        assert (await record_of(node)).member_count == 1 + others
    async with world.node() as node:
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=G, users=["bob"], op="add", actor="ann")])
        assert (loaded.made, list(loaded.members)) == (add, [])
        assert (await changed(node, add)).status == Outcome.DONE
        assert (await record_of(node)).member_count == 1 + others


async def test_a_change_is_found_by_its_op_with_or_without_a_notice() -> None:
    async with World().node() as node:
        made = create(G, "ann", "bob")
        await changed(node, made)
        for actor, op, expected in (("ann", "create", made), ("bob", "create", None), ("ann", "other", None)):
            (loaded,) = await node.loads.load([pb.LoadItem(conversation=G, op=op, actor=actor)])
            assert (loaded.made if loaded.HasField("made") else None) == expected


async def test_what_an_op_has_made_is_told_to_who_asks_for_something_else_with_it() -> None:
    async with World().node() as node:
        made = create(G, "ann", "bob")
        await changed(node, made)
        outcome = await changed(node, create(G, "ann", "cid"))
        assert (outcome.status, outcome.made) == (Outcome.DONE, made)
        assert sorted(await members_of(node, G)) == ["ann", "bob"]


async def test_nothing_is_read_for_no_ops_and_an_op_that_was_never_made_is_not_found() -> None:
    world = World()
    made = ChangesMade(world.database.repository())
    assert await made.find([]) == {}
    assert world.database.faults.commands == 0
    assert await made.find([OpKey(G, "ann", "never")]) == {}
