"""What a node that is gone has not told is found by whoever owns it now, though nobody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common.bus.memory import MemoryBroker
from services.storage.events import heartbeat
from services.storage.events.heartbeat import Heartbeats
from services.storage.node import Storage
from tests.unit.storage.nodes import Neighbourhood, World, change, changed, create, quiet, send, stored

CHAT = "d:ann|bob"
ONE, TWO = "boot of one", "boot of two"


def world(*alive: str) -> World:
    return World(broker=MemoryBroker(), hood=Neighbourhood(lambda _: "", boots=frozenset(alive)))


def beats(node: Storage) -> Heartbeats:
    assert node.heartbeats is not None
    return node.heartbeats


@asynccontextmanager
async def gone(here: World) -> AsyncIterator[Storage]:
    """A node that beat once, and that publishes nothing after that; it goes without a word."""
    async with here.node("one", faults=(faults := type(here.database.faults)())) as node:
        await beats(node).beat(ONE)
        here.buses["one"].cut()
        yield node
        faults.away = True
        here.hood.boots = frozenset({TWO})


async def test_quiet_conversations_of_a_node_that_is_gone_are_told_by_its_neighbour() -> None:
    here = world(ONE, TWO)
    async with here.node("two") as two:
        await beats(two).beat(TWO)
        async with gone(here) as one:
            await stored(one, send("ann", "bob", "1"), send("ann", "bob", "2"))
        await beats(two).beat(TWO)
        await quiet(two)
        assert here.seqs(CHAT) == [1, 2]


async def test_a_node_that_starts_alone_finds_what_its_life_before_has_left() -> None:
    here = world(ONE)
    async with gone(here) as one:
        await stored(one, send("ann", "bob", "1"))
        await changed(one, create("g:1", "ann", large=True))
        item = change("g:1", "bob", "join", 1, joins=["bob"], keep_version=True)
        item.acts.append(b"\x0a\x04join")
        await changed(one, item)
    async with here.node("one") as again:
        await beats(again).beat(TWO)
        await quiet(again)
        assert here.seqs(CHAT) == [1]
        assert [each.membership.act for each in here.told() if each.HasField("membership")] == ["join"]


async def test_what_another_node_owns_is_left_to_that_one() -> None:
    here = world(ONE, TWO)
    async with gone(here) as one:
        await stored(one, send("ann", "bob", "1"))
    here.hood.owner_of = lambda _: "three"
    async with here.node("two") as two:
        await beats(two).beat(TWO)
        await quiet(two)
        assert here.seqs(CHAT) == []
        here.hood.owner_of = lambda _: "two"
        two.ring_changed(frozenset({1}))
        await beats(two).beat(TWO)
        await quiet(two)
        assert here.seqs(CHAT) == [1]


async def test_if_the_database_does_not_remember_so_far_back_all_conversations_are_looked_at() -> None:
    here = world(ONE)
    async with gone(here) as one:
        await stored(one, *(send("ann", f"bob{number}", "1") for number in range(150)))
    here.database.forgotten = len(here.database.written)
    async with here.node("two") as two:
        await beats(two).beat(TWO)
        await quiet(two)
        assert all(here.seqs(f"d:ann|bob{number}") == [1] for number in range(150))


async def test_a_heartbeat_says_what_was_told_when_it_was_stored_before_the_beat_before() -> None:
    here = world(ONE)
    async with here.node("one") as node:
        await beats(node).beat(ONE)
        here.buses["one"].cut()
        await stored(node, send("ann", "bob", "1"))
        written = len(here.database.written)
        for _ in range(3):
            await beats(node).beat(ONE)
            assert here.database.heartbeats[ONE] < written
        here.buses["one"].heal()
        await quiet(node)
        await beats(node).beat(ONE)
        assert here.database.heartbeats[ONE] == written


async def test_a_node_that_has_not_told_what_another_left_says_no_more_than_that_one() -> None:
    here = world(ONE, TWO)
    async with here.node("two") as two:
        async with gone(here) as one:
            left = here.database.heartbeats[ONE]
            await stored(one, send("ann", "bob", "1"))
        here.buses["two"].cut()
        for _ in range(3):
            await beats(two).beat(TWO)
            assert here.database.heartbeats[TWO] <= left
        here.buses["two"].heal()
        await quiet(two)
        await beats(two).beat(TWO)
        assert here.database.heartbeats[TWO] > left


async def test_the_heartbeat_of_the_dead_is_kept_for_a_while_and_that_of_a_node_that_left_is_not() -> None:
    here = world(ONE, TWO)
    async with gone(here) as one:
        await stored(one, send("ann", "bob", "1"))
    async with here.node("two") as two:
        await beats(two).beat(TWO)
        await quiet(two)
        await beats(two).beat(TWO)
        assert set(here.database.heartbeats) == {ONE, TWO}
        here.clock.advance(heartbeat.KEPT_S + 1)
        await beats(two).beat(TWO)
        assert set(here.database.heartbeats) == {TWO}
    assert not here.database.heartbeats


async def test_a_node_that_leaves_with_events_that_it_could_not_publish_leaves_its_heartbeat() -> None:
    here = world(ONE)
    async with here.node("one", faults=type(here.database.faults)()) as node:
        await beats(node).beat(ONE)
        here.buses["one"].cut()
        await stored(node, send("ann", "bob", "1"))
    assert set(here.database.heartbeats) == {ONE}


async def test_a_process_that_goes_on_under_another_boot_id_takes_the_old_one_away() -> None:
    here = world(ONE, TWO)
    async with here.node("one") as node:
        await beats(node).beat(ONE)
        await beats(node).beat(TWO)
        assert set(here.database.heartbeats) == {TWO}


async def test_who_is_alive_is_left_alone_and_so_is_everybody_while_that_is_not_known() -> None:
    here = world(ONE, TWO)
    async with here.node("two") as two:
        async with gone(here) as one:
            await stored(one, send("ann", "bob", "1"))
        here.hood.boots = None
        await beats(two).beat(TWO)
        here.hood.boots = frozenset({ONE, TWO})
        await beats(two).beat(TWO)
        await quiet(two)
        assert here.seqs(CHAT) == []


async def test_what_was_lost_even_as_an_id_is_found_in_the_database() -> None:
    here = World(broker=(broker := MemoryBroker()), events_bytes_max=1500)
    here.hood = Neighbourhood(lambda _: "", boots=frozenset({ONE}))
    async with here.node() as node:
        beating = beats(node)
        beating.queue._owed_max = 1
        await beating.beat(ONE)
        broker.away()
        names = [f"bob{number}" for number in range(8)]
        await stored(node, *(send("ann", name, "1") for name in names))
        assert beating.queue.lost
        broker.back()
        while any(here.seqs(f"d:ann|{name}") != [1] for name in names):
            await asyncio.sleep(0)
            await beating.beat(ONE)
            await beating.pay_once()
        assert not beating.queue.lost
