"""Inboxes: what is looked for before it is appended, however long ago it came."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.inboxes.look_back import DAY_MS, LookBack
from services.storage.inboxes.numbering import Append, CachedInbox, InboxPlan
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.repository.memory import Faults
from services.storage.repository.records import InboxEntry
from services.storage.upkeep.retention import RetentionPolicy
from tests.unit.storage.nodes import (
    World,
    inbox_of,
    send,
    stored,
)
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import SLOTS

CHAT = "d:ann|bob"
DAY_S = 86_400.0


async def load(node: Storage, conversation: str) -> pb.LoadOutcome:
    (loaded,) = await node.loads.load([pb.LoadItem(conversation=conversation, narrow=True)])
    assert not loaded.HasField("fault")
    return loaded


async def left_behind(world: World, stack: AsyncExitStack, *, delivered: bool = True) -> None:
    """A message whose node died before it said that all is settled; its entries are there, or are not."""
    faults = Faults()
    node = await stack.enter_async_context(world.node("dead", faults=faults))
    stack.callback(setattr, faults, "away", True)
    world.hood.owner_of = lambda _: ""

    async def dies(command: str) -> None:
        if command == "inbox.insert" and not delivered:
            raise Unavailable("gone")

    faults.delay = dies
    await node.conversations.store([send("ann", "bob", "old")])
    faults.delay = None
    faults.away = True


def quarrel(world: World, node: Storage, entries: int) -> None:
    """Bob's inbox gets so many entries of others, a second apart."""
    inbox = world.database.inboxes["bob"]
    for _ in range(entries):
        number = next(reversed(inbox), 0) + 1
        inbox[number] = InboxEntry("bob", number, "d:bob|dan", number, world.clock.wall_ms())
        world.clock.advance(1)
    node.inboxes.drop_slots(frozenset(range(SLOTS)))


async def test_two_repeats_of_an_append_that_memory_has_forgotten_find_its_entry_in_one_batch() -> None:
    world = World(limits=Limits(inbox_tail=8, flush_interval_s=1e6))
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(20)))
        repeat = Append("bob", CHAT, 3, 1, again=True)
        assert await node.inboxes.append([repeat, repeat, repeat]) == [3, 3, 3]
        assert len(await inbox_of(node, "bob")) == 20


@pytest.mark.parametrize("before", [0, 1500])
@pytest.mark.parametrize("entries", [100, 2500, 6000])
async def test_an_old_message_does_not_come_again_however_much_came_since(entries: int, before: int) -> None:
    world = World()
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(world.node())
        quarrel(world, node, before)
        await left_behind(world, stack)
        quarrel(world, node, entries)
        await load(node, CHAT)
        assert (await node.pages.inbox_heads(["bob"])).heads[0] == before + 1 + entries


async def test_an_old_message_that_nobody_ever_got_is_delivered_however_much_came_since() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        await left_behind(world, stack, delivered=False)
        node = await stack.enter_async_context(world.node())
        quarrel(world, node, 2500)
        await load(node, CHAT)
        assert (await node.pages.inbox_heads(["bob"])).heads[0] == 2501
        assert world.database.inboxes["bob"][2501].conversation == CHAT


async def test_what_inbox_retention_has_removed_counts_as_delivered() -> None:
    world = World()
    policy = RetentionPolicy(inbox_days=30)
    async with AsyncExitStack() as stack:
        await left_behind(world, stack)
        node = await stack.enter_async_context(world.node(policy=policy))
        quarrel(world, node, 300)
        world.clock.advance(31 * DAY_S)
        await stored(node, send("cleo", "bob", "today"))
        await node.retention.sweep()
        assert min(world.database.inboxes["bob"]) == 302
        await load(node, CHAT)
        assert (await node.pages.inbox_heads(["bob"])).heads[0] == 302


async def test_what_is_younger_than_retention_is_delivered_although_all_before_it_was_removed() -> None:
    world = World()
    policy = RetentionPolicy(inbox_days=30)
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(world.node(policy=policy))
        quarrel(world, node, 50)
        world.clock.advance(40 * DAY_S)
        await left_behind(world, stack, delivered=False)
        world.clock.advance(1)
        await stored(node, send("cleo", "bob", "today"))
        await node.retention.sweep()
        assert min(world.database.inboxes["bob"]) == 51
        await load(node, CHAT)
        assert world.database.inboxes["bob"][52].conversation == CHAT


async def test_a_settled_late_entry_among_the_others_does_not_mislead_the_search() -> None:
    """Entries ascend in time but for those that a take-over appended late."""
    world = World()
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(world.node())
        quarrel(world, node, 10)
        await left_behind(world, stack)
        for _ in range(8):
            quarrel(world, node, 600)
            # Half of the probes may meet one of these.
            entries = world.database.inboxes["bob"]
            for number in list(entries)[-1:]:
                entries[number] = entries[number]._replace(time_ms=1)
        await load(node, CHAT)
        assert (await node.pages.inbox_heads(["bob"])).heads[0] == 10 + 1 + 4800


async def test_nothing_is_read_for_what_comes_for_the_first_time() -> None:
    world = World()
    look_back = LookBack(world.database.repository(), world.clock, DAY_MS)
    inboxes = {"ann": CachedInbox("ann", 8)}
    appends = [Append("ann", "d:ann|bob", 1, 1)]
    plan = InboxPlan(appends, inboxes.__getitem__)
    await look_back.find(plan, appends, inboxes)
    assert (world.database.faults.commands, plan.open) == (0, [0])
