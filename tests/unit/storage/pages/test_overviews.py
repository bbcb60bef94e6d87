"""The order of a list that is kept in memory."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.pages.overviews import KEPT_S
from tests.unit.storage.nodes import World, change, changed, create, send, stored


async def test_who_leaves_and_who_joins_while_an_order_is_kept() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, list_places_min=0))
    async with world.node() as node:
        await changed(node, create("g:1", "bob", "ann"))
        assert await listed(node) == ["g:1"]
        await changed(node, create("g:2", "bob", "ann"))
        await changed(node, create("g:3", "bob", large=True))
        await changed(node, change("g:3", "ann", "join", 1, joins=["ann"], keep_version=True))
        assert sorted(await listed(node)) == ["g:1", "g:2", "g:3"]
        await changed(node, change("g:1", "bob", "out", 1, removed=["ann"], notices=[["ann", "bob"]]))
        assert sorted(await listed(node)) == ["g:2", "g:3"]


async def listed(node: Storage) -> list[str]:
    (page,) = await node.lists.pages([pb.ConversationsItem(user="ann")])
    return [entry.record.conversation for entry in page.entries]


async def test_a_kept_order_is_read_anew_when_the_entries_since_are_not_all_there() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, list_places_min=0))
    async with world.node() as node:
        await stored(node, send("peer0", "ann", "x"))
        assert await listed(node) == ["d:ann|peer0"]
        for which in (1, 2):
            world.clock.advance(1)
            await stored(node, send(f"peer{which}", "ann", "x"))
        del world.database.inboxes["ann"][2]
        assert await listed(node) == ["d:ann|peer2", "d:ann|peer1", "d:ann|peer0"]


async def test_what_is_kept_of_all_users_is_bounded() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, list_places_min=0, list_places_max=2))
    async with world.node() as node:
        for user in ("ann", "bob", "cid"):
            await stored(node, send("peer", user, "x"))
        for user in ("ann", "bob", "cid", "ann"):
            before = world.database.faults.commands
            (page,) = await node.lists.pages([pb.ConversationsItem(user=user)])
            assert len(page.entries) == 1
            assert world.database.faults.commands - before >= 7, "it was not kept"
        before = world.database.faults.commands
        await listed(node)
        assert world.database.faults.commands - before < 7, "it was kept"


async def test_an_order_is_read_anew_when_it_was_kept_for_long() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, list_places_min=0))
    async with world.node() as node:
        await stored(node, send("peer0", "ann", "x"))
        costs: list[int] = []
        for pause_s in (0.0, KEPT_S - 1, 2.0):
            world.clock.advance(pause_s)
            before = world.database.faults.commands
            assert await listed(node) == ["d:ann|peer0"]
            costs.append(world.database.faults.commands - before)
        first, kept, again = costs
        assert kept < first
        assert again == first
