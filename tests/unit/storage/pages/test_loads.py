"""One conversation by its id, with the members that were asked for."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.admission.circumstances import Circumstances
from services.storage.node import Storage
from services.storage.pages.loads import ConversationLoads
from tests.unit.storage.nodes import Neighbourhood, World, change, changed, create
from tidings_protocol.errors import BadRequest

G = "g:1"


async def record_of(node: Storage, group: str = G) -> pb.ConversationRecord:
    (loaded,) = await node.loads.load([pb.LoadItem(conversation=group)])
    return loaded.record


async def test_the_successor_in_a_large_group_is_told_if_the_owner_asks() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", "bob", "cid", large=True))
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=G, users=["ann"], successor=True)])
        assert loaded.successor == "bob"
        assert sorted(member.user for member in loaded.members) == ["ann", "bob"]
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=G, users=["cid"], successor=True)])
        assert loaded.successor == ""


async def test_a_load_of_a_known_version_leaves_the_members_out() -> None:
    async with World().node() as node:
        await changed(node, create(G, "ann", "bob"))
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=G, known_version=1)])
        assert (loaded.unchanged, len(loaded.members), loaded.record.version) == (True, 0, 1)


async def test_a_group_that_does_not_exist_is_none() -> None:
    async with World().node() as node:
        assert not (await record_of(node, "g:none")).exists


async def test_one_that_cannot_be_loaded_has_its_fault_and_the_others_are_told() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann", "bob"))
        loads = ConversationLoads(
            world.database.repository(),
            node.conversations,
            Circumstances(world.database.repository(), node.conversations, world.clock),
        )
        bad, good = await loads.load(
            [pb.LoadItem(conversation="?"), pb.LoadItem(conversation=G, users=["bob"], narrow=True)]
        )
        assert bad.fault.code == BadRequest.code
        assert [member.user for member in good.members] == ["bob"]


async def test_who_decides_on_a_change_is_told_what_another_node_has_changed_in_the_owners_place() -> None:
    world = World(hood=Neighbourhood(lambda _: ""))
    async with world.node("one") as one, world.node("two") as two:
        await changed(one, create(G, "ann", "bob", large=True))
        assert (await changed(two, change(G, "ann", "out", 1, removed=["bob"]))).status == pb.ChangeOutcome.DONE
        deciding = pb.LoadItem(conversation=G, users=["bob"], actor="ann", op="in again")
        (loaded,) = await one.loads.load([deciding])
        assert (loaded.record.version, list(loaded.members)) == (2, [])


async def test_who_decides_on_a_change_is_told_who_came_into_a_small_group_by_another_node() -> None:
    world = World(hood=Neighbourhood(lambda _: ""))
    async with world.node("one") as one, world.node("two") as two:
        await changed(one, create(G, "ann", "bob"))
        await changed(two, change(G, "ann", "in", 1, joins=["cid"], notices=[["ann", "bob", "cid"]]))
        (loaded,) = await one.loads.load([pb.LoadItem(conversation=G, actor="ann", op="in", known_version=1)])
        assert sorted(member.user for member in loaded.members) == ["ann", "bob", "cid"]
        assert loaded.made.op == "in"


async def test_what_the_owner_alone_has_changed_is_not_loaded_again_for_a_decision() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann", "bob"))
        before = (await node.conversations.get([G]))[G]
        await node.loads.load([pb.LoadItem(conversation=G, actor="ann", op="next")])
        assert (await node.conversations.get([G]))[G] is before
