"""What a user hides, as the owner of the conversation takes it."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.hiding.hides import AT_ONCE, Hides
from services.storage.repository.message_contract import HIDDEN_MAX
from services.storage.repository.records import HiddenSeqs, MemberKey
from tests.unit.storage.changed import CHAT, acted, hide, put
from tests.unit.storage.nodes import World, send, stored

BOB = MemberKey(CHAT, "bob")


async def test_what_is_there_is_hidden_and_what_is_not_is_passed_over() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(3)))
        await put(world, node, acted(4, 1, pin=True))
        outcome = await hide(node, "bob", 3, 1, 3, 4, 9, 0)
        assert (list(outcome.seqs), outcome.through, outcome.HasField("fault")) == ([1, 3], 0, False)
        assert world.database.hidden == {BOB: HiddenSeqs(0, frozenset({1, 3}))}


async def test_a_position_is_cut_to_the_head() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"), send("ann", "bob", "y"))
        assert (await hide(node, "bob", through=2**63)).through == 2
        assert world.database.hidden == {BOB: HiddenSeqs(2)}
        nothing = await hide(node, "bob", 7, through=5, conversation="d:bob|cid")
        assert (list(nothing.seqs), nothing.through) == ([], 0)
        assert list(world.database.hidden) == [BOB], "of what is not there nothing is kept"


async def test_too_much_is_refused_and_spoils_nobody_else() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"))
        world.database.hidden[BOB] = HiddenSeqs(0, frozenset(range(2, HIDDEN_MAX + 2)))
        items = [
            pb.HideItem(conversation=CHAT, user="bob", seqs=[1]),
            pb.HideItem(conversation="?", user="bob", seqs=[1]),
            *(pb.HideItem(conversation=CHAT, user=f"user{number}", through=1) for number in range(2 * AT_ONCE)),
        ]
        outcomes = await node.hides.hide(items)
        assert [outcome.fault.code for outcome in outcomes] == ["BAD_REQUEST", "BAD_REQUEST"] + [""] * 2 * AT_ONCE
        assert len(world.database.hidden) == 1 + 2 * AT_ONCE


async def test_a_write_that_fails_is_its_items_own_fault() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"))
        world.database.faults.lose_answers(1)
        assert (await hide(node, "bob", 1)).fault.code == "UNAVAILABLE"
        assert not (await hide(node, "bob", 1)).HasField("fault"), "it may be repeated"
        assert isinstance(node.hides, Hides)
