"""The owner's memory of inboxes: who is in it, who cannot be had, and what is read again."""

from __future__ import annotations

import pytest

from services.storage.inboxes.numbering import Append, CachedInbox
from services.storage.inboxes.writer import InboxWork, InboxWriter, Seen
from services.storage.limits import Limits
from tests.unit.storage.nodes import World
from tidings_protocol.errors import Overloaded, Unavailable
from tidings_protocol.ids import slot_of

CHAT = "d:ann|bob"


def heads(found: dict[str, CachedInbox | Exception]) -> dict[str, int | type]:
    return {user: each.head if isinstance(each, CachedInbox) else type(each) for user, each in found.items()}


async def test_entries_are_numbered_in_the_order_in_which_they_are_offered() -> None:
    async with World().node() as node:
        writer: InboxWriter = node.inboxes
        appends = [Append(user, CHAT, seq, 1) for seq in (1, 2) for user in ("ann", "bob")]
        assert await writer.append(appends) == [1, 1, 2, 2]
        assert await writer.append([appends[0], Append("ann", CHAT, 9, 1, only_look=True)]) == [1, 0]


async def test_of_users_that_are_asked_for_together_those_that_are_had_are_had() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, cached_entries_max=1))
    async with world.node() as node:
        found = await node.inboxes.touch(["ann", "bob", "cid"])
        assert heads({**found}) == {"ann": Unavailable, "bob": Unavailable, "cid": 0}


async def test_a_lane_that_is_full_is_that_of_its_users() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, inbox_lanes=2, lane_capacity=1))
    async with world.node() as node:
        writer = node.inboxes
        users = [f"u{number}" for number in range(40)]
        (full, *_), free = ([user for user in users if writer._lane_of(user) == lane] for lane in (0, 1))
        writer.lanes.offer(0, InboxWork(), lambda _: None)
        found = await writer.touch([full, free[0]])
        assert heads({**found}) == {full: Overloaded, free[0]: 0}


async def test_memory_that_ends_before_what_a_device_has_seen_is_read_again() -> None:
    world = World()
    world.hood.owner_of = lambda _: ""
    async with world.node("one") as one, world.node("two") as two:
        await one.inboxes.append([Append("ann", CHAT, 1, 1)])
        await two.inboxes.append([Append("ann", CHAT, 2, 1)])
        assert heads({**await one.inboxes.touch(["ann"])}) == {"ann": 1}
        assert heads({**await one.inboxes.touch(["ann"], [Seen("ann", 2)])}) == {"ann": 2}


async def test_what_another_node_owns_is_not_remembered() -> None:
    world = World()
    async with world.node() as node:
        await node.inboxes.touch(["ann"])
        assert node.inboxes.peek("ann") is not None
        world.hood.owner_of = lambda slot: "two" if slot == slot_of("ann") else "one"
        assert node.inboxes.peek("ann") is None
        assert node.inboxes.cached == 0


async def test_nothing_is_forgotten_that_a_full_lane_has_not_heard_of() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, lane_capacity=1))
    async with world.node() as node:
        await node.inboxes.touch(["ann"])
        node.inboxes.lanes.offer(0, InboxWork(), lambda _: None)
        with pytest.raises(Overloaded):
            await node.inboxes.forget(["ann"])
