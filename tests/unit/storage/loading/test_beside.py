"""What a change does beside members is done with it, whoever comes to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.loading.beside import beside_of
from services.storage.repository.group_contract import GroupPorts
from services.storage.repository.group_records import InviteDocument, JoinRequestDocument
from services.storage.repository.memory import Faults
from services.storage.repository.records import ConversationDocument, MemberKey
from tests.unit.storage.nodes import World, change, changed, create
from tidings_protocol.client_pb2 import GroupSettings
from tidings_protocol.errors import TidingsError

G = "g:1"


def dying_after(faults: Faults, steps: int) -> Callable[[str], Awaitable[None]]:
    """What is awaited around each command: so many times nothing happens, then the node is cut off."""
    left = iter(range(steps))

    async def delay(_: str) -> None:
        faults.away = faults.away or next(left, None) is None

    return delay


def ban_of(*users: str) -> pb.ChangeItem:
    item = change(G, "ann", "ban", 1, removed=users, notices=[["ann", *users]])
    item.banned.extend(users)
    return item


async def test_a_ban_that_was_begun_is_done_by_whoever_loads_the_group_next() -> None:
    """The writer dies after each of its commands in turn."""
    for steps in range(12):
        world = World()
        async with AsyncExitStack() as stack:
            faults = Faults()
            node = await stack.enter_async_context(world.node(faults=faults))
            stack.callback(setattr, faults, "away", True)
            await changed(node, create(G, "ann", "eve"))
            faults.delay = dying_after(faults, steps)
            [outcome] = await node.conversations.change([ban_of("eve")])
            sure = not isinstance(outcome, TidingsError) and outcome.status == pb.ChangeOutcome.DONE
        async with world.node("two") as node:
            world.hood.owner_of = lambda _: "two"
            again = await changed(node, ban_of("eve"))
            assert again.status == pb.ChangeOutcome.DONE
            [loaded] = await node.loads.load([pb.LoadItem(conversation=G, users=["eve"], bans=True)])
            assert ([each.user for each in loaded.members], list(loaded.banned)) == (["ann"], ["eve"]), (steps, sure)
            assert loaded.record.bans == 1


async def test_what_follows_late_ends_nothing_that_is_newer() -> None:
    world = World()
    ports: GroupPorts = world.database.repository().groups
    await ports.invites.make(InviteDocument(G, "old", "eve", 1, 10**15, stamp=3))
    await ports.invites.make(InviteDocument(G, "new", "eve", 1, 10**15, stamp=4))
    await ports.requests.ask(JoinRequestDocument(G, "eve", "", 1, stamp=3), since=1)
    await ports.requests.ask(JoinRequestDocument(G, "zoe", "", 1, stamp=4), since=1)
    pending = pb.ChangeItem(removed=["eve"], banned=["eve", "zoe"]).SerializeToString()
    document = ConversationDocument(G, 2, stamp=4, asked_from=1, pending=pending)
    for write in beside_of(ports, [document, ConversationDocument("g:2", 2)]):
        await write
    assert set(world.database.beside.invites) == {(G, "new")}
    assert set(world.database.beside.requests) == {MemberKey(G, "zoe")}


async def test_nothing_is_written_for_a_change_that_has_nothing_beside() -> None:
    ports = World().database.repository().groups
    pending = pb.ChangeItem(set=[pb.MemberRecord(user="eve")]).SerializeToString()
    assert beside_of(ports, [ConversationDocument(G, 2, stamp=1, pending=pending)]) == []


async def test_all_requests_fall_with_the_change_that_ends_them_and_no_other() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann"))
        for version, (approval, left) in enumerate(((True, 1), (True, 1), (False, 0)), start=1):
            item = change(G, "ann", f"op {version}", version, notices=[["ann"]])
            item.settings.settings = GroupSettings(approval=approval, slow_s=version).SerializeToString()
            await changed(node, item)
            if version == 1:
                await world.database.repository().groups.requests.ask(
                    JoinRequestDocument(G, "eve", "", 1, stamp=2), since=2
                )
            assert len(world.database.beside.requests) == left
        assert world.database.conversations[G].asked_from == 0
