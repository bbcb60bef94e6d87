"""Clocks that are wrong: of a node, or of the database for a while."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import ManualClock
from services.storage.limits import LEAD_MAX_MS
from services.storage.messages.numbering import next_ms
from services.storage.upkeep.retention import DAY_MS, RetentionPolicy
from services.storage.upkeep.timekeeping import Timekeeper
from tests.unit.storage.nodes import World, send, stored

NOW_MS = 1_700_000_000_000


async def listed(world: World) -> list[str]:
    async with world.node() as node:
        (page,) = await node.lists.pages([pb.ConversationsItem(user="ann")])
        return [entry.peer.user for entry in page.entries]


async def test_a_node_whose_clock_is_ahead_removes_nothing_and_goes_on_when_it_is_right() -> None:
    world = World()
    world.database.clock = ManualClock()
    async with world.node(policy=RetentionPolicy(message_days=30, inbox_days=30)) as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(5)))
        world.clock.jump(40 * DAY_MS)
        await node.retention.sweep()
        assert len(world.database.messages["d:ann|bob"]) == 5
        assert len(world.database.inboxes["bob"]) == 5
        world.clock.jump(-40 * DAY_MS)
        for clock in (world.clock, world.database.clock):
            clock.advance(31 * DAY_MS / 1000)
        await node.retention.sweep()
        assert world.database.messages["d:ann|bob"] == {}


async def test_nothing_is_removed_for_a_day_after_the_databases_own_clock_has_jumped() -> None:
    """As on one machine, whose clock both have."""
    world = World()
    async with world.node(policy=RetentionPolicy(message_days=30)) as node:
        await stored(node, send("ann", "bob", "x"))
        for jump_ms in (40 * DAY_MS, -40 * DAY_MS):
            world.clock.jump(jump_ms)
            await node.retention.sweep()
            assert len(world.database.messages["d:ann|bob"]) == 1
        world.clock.advance(31 * DAY_MS / 1000)
        await node.retention.sweep()
        assert world.database.messages["d:ann|bob"] == {}


async def test_messages_have_the_databases_time_whatever_the_nodes_clock_says() -> None:
    world = World()
    async with world.node() as node:
        world.clock.jump(40 * DAY_MS)
        world.clock.advance(5)
        (outcome,) = await stored(node, send("ann", "bob", "x"))
        assert outcome.time_ms == NOW_MS + 5000


async def test_the_node_follows_the_database_when_it_measures_again() -> None:
    node, database = ManualClock(), ManualClock(wall_ms=NOW_MS + 500)

    class Database:
        async def now_ms(self) -> int:
            return database.wall_ms()

    time = Timekeeper(node, Database())
    await time.measure()
    assert (time.wall_ms(), time.lead_ms, time.is_trusted) == (NOW_MS + 500, -500, True)
    node.advance(10)
    assert (time.wall_ms(), time.now_s()) == (NOW_MS + 10_500, 10)
    node.jump(DAY_MS)
    assert time.wall_ms() == NOW_MS + 10_500
    await time.measure()
    assert (time.wall_ms(), time.is_trusted) == (NOW_MS + 500, False)


def test_a_time_that_leads_by_more_than_a_minute_is_not_believed() -> None:
    assert next_ms(NOW_MS, NOW_MS - 1) == NOW_MS
    assert next_ms(NOW_MS, NOW_MS + LEAD_MAX_MS) == NOW_MS + LEAD_MAX_MS
    assert next_ms(NOW_MS, NOW_MS + LEAD_MAX_MS + 1) == NOW_MS


async def test_a_conversation_from_the_future_is_neither_frozen_nor_pinned_to_the_top() -> None:
    """As it was stored while the database's own clock was wrong."""
    world = World()
    world.clock.jump(40 * DAY_MS)
    async with world.node() as node:
        await stored(node, send("ann", "bob", "ahead"))
    world.clock.jump(-40 * DAY_MS)
    assert await listed(world) == ["bob"]
    world.clock.advance(60)
    async with world.node() as node:
        await stored(node, send("ann", "cid", "later"))
    assert await listed(world) == ["cid", "bob"]
    async with world.node() as node:
        world.clock.advance(1)
        (outcome,) = await stored(node, send("ann", "bob", "now"))
        assert outcome.time_ms == NOW_MS + 61_000
    assert await listed(world) == ["bob", "cid"]
