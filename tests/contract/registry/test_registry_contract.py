"""What every registry does: the twin and etcd alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from services.common.registry.contract import Membership, NodeRecord
from tidings_protocol.errors import Unavailable

from .harness import LONG_S, Harness, seen, until


def node(name: str, boot: str = "1") -> NodeRecord:
    return NodeRecord(name, "access", f"{name}.{boot}", f"{name}:1", state="ready")


def names(membership: Membership) -> list[str]:
    return [found.name for found in membership.nodes]


def boots(membership: Membership) -> list[str]:
    return [found.boot_id for found in membership.nodes]


async def test_a_watch_begins_with_what_is_there(harness: Harness) -> None:
    async with harness.new() as one:
        assert (await seen(one, lambda _: True)).nodes == ()
        await one.register(node("a"))
        async with harness.new() as late:
            assert names(await seen(late, lambda _: True)) == ["a"]


async def test_a_registered_node_is_seen_by_all_with_all_that_it_says(harness: Harness) -> None:
    record = NodeRecord(
        "a",
        "storage",
        "boot",
        "10.0.0.1:5",
        2.5,
        "starting",
        "10.0.0.1:6",
        "ws://h:1/v1/ws",
        "h:2",
        7,
        1_700_000_000_000,
    )
    async with harness.new() as one, harness.new() as two:
        await one.register(record)
        for registry in (one, two):
            assert (await seen(registry, lambda m: names(m) == ["a"])).nodes == (record,)


async def test_members_stand_in_the_order_of_kind_and_name(harness: Harness) -> None:
    async with harness.new() as one, harness.new() as two, harness.new() as three:
        await one.register(replace(node("z"), kind="access"))
        await two.register(replace(node("b"), kind="storage"))
        await three.register(replace(node("a"), kind="storage"))
        assert names(await seen(two, lambda m: len(m.nodes) == 3)) == ["z", "a", "b"]


async def test_an_update_is_seen(harness: Harness) -> None:
    async with harness.new() as one, harness.new() as two:
        await one.register(replace(node("a"), state="starting"))
        await one.update(node("a"))
        await seen(two, lambda m: m.nodes == (node("a"),))
        await one.update(replace(node("a"), state="draining", mailbox=3))
        await seen(two, lambda m: m.nodes == (replace(node("a"), state="draining", mailbox=3),))


async def test_an_update_of_something_else_is_refused(harness: Harness) -> None:
    async with harness.new() as one:
        with pytest.raises(ValueError, match="registered node"):
            await one.update(node("a"))
        await one.register(node("a"))
        for other in (node("b"), node("a", "2"), replace(node("a"), kind="logic")):
            with pytest.raises(ValueError, match="registered node"):
                await one.update(other)


async def test_a_node_that_deregisters_is_gone_and_may_come_again(harness: Harness) -> None:
    async with harness.new() as one, harness.new() as two:
        await one.register(node("a"))
        await seen(two, lambda m: names(m) == ["a"])
        await one.deregister()
        await one.deregister()
        await seen(two, lambda m: m.nodes == ())
        assert not one.lost.is_set()
        await one.register(node("a", "2"))
        await seen(two, lambda m: boots(m) == ["a.2"])


async def test_leaving_deregisters(harness: Harness) -> None:
    async with harness.new() as two:
        async with harness.new() as one:
            await one.register(node("a"))
            await seen(two, lambda m: names(m) == ["a"])
        await seen(two, lambda m: m.nodes == ())


async def test_a_second_process_takes_the_name_over_and_the_first_learns_it(harness: Harness) -> None:
    async with harness.new() as watcher, harness.new() as second:
        async with harness.new() as first:
            await first.register(node("a"))
            await second.register(node("a", "2"))
            await seen(watcher, lambda m: boots(m) == ["a.2"])
            await until(first.lost.is_set)
            assert "took the name" in first.lost_because
        assert boots(await seen(watcher, lambda _: True)) == ["a.2"], "the first one's end does not touch the second"
        assert not second.lost.is_set()


async def test_a_claim_has_one_holder(harness: Harness) -> None:
    async with harness.new() as one, harness.new() as two:
        await one.register(node("a"))
        await two.register(node("b"))
        assert await one.claim("mailboxes/0", "a/a.1")
        assert not await two.claim("mailboxes/0", "b/b.1")
        assert await two.claim("mailboxes/1", "b/b.1")
        assert await one.claim("mailboxes/0", "a/a.1"), "it holds it already"
        assert not await one.claim("mailboxes/0", "a/other")


async def test_of_many_that_claim_at_once_one_gets_it(harness: Harness) -> None:
    registries = [harness.new() for _ in range(5)]
    for registry in registries:
        await registry.__aenter__()
    try:
        for n, registry in enumerate(registries):
            await registry.register(node(f"n{n}"))
        won = await asyncio.gather(*(r.claim("mailboxes/9", f"n{n}") for n, r in enumerate(registries)))
        assert sorted(won) == [False, False, False, False, True]
    finally:
        for registry in registries:
            await registry.__aexit__(None, None, None)


async def test_a_claim_is_free_when_its_holder_deregisters(harness: Harness) -> None:
    async with harness.new() as one, harness.new() as two:
        await one.register(node("a"))
        await two.register(node("b"))
        assert await one.claim("mailboxes/0", "a")
        await one.deregister()
        assert await two.claim("mailboxes/0", "b")


async def test_only_a_registered_node_can_claim(harness: Harness) -> None:
    async with harness.new() as one:
        with pytest.raises(Unavailable, match="not registered"):
            await one.claim("mailboxes/0", "a")


async def test_a_setting_is_written_once_for_good(harness: Harness) -> None:
    async with harness.new() as one, harness.new() as two:
        first, second = await asyncio.gather(
            one.put_once("settings/mailboxes", "64"), two.put_once("settings/mailboxes", "128")
        )
        assert first == second
        assert first in ("64", "128")
        assert await one.put_once("settings/mailboxes", "256") == first
    async with harness.new() as three:
        assert await three.put_once("settings/mailboxes", "512") == first


async def test_a_slow_watcher_sees_the_latest_and_nothing_twice(harness: Harness) -> None:
    async with harness.new() as one, harness.new() as two:
        watch = two.watch()
        assert (await anext(watch)).nodes == ()
        await one.register(replace(node("a"), state="starting"))
        await one.update(node("a"))
        await one.update(node("a"))
        await seen(two, lambda m: m.nodes == (node("a"),))
        assert (await anext(watch)).nodes == (node("a"),)
        await one.update(replace(node("a"), mailbox=1))
        assert (await anext(watch)).nodes == (replace(node("a"), mailbox=1),)


async def test_a_node_whose_lease_ran_out_is_gone_knows_it_and_rejoins(harness: Harness) -> None:
    async with harness.new() as one, harness.new() as other:
        await other.register(node("b"))
        await one.register(node("a"))
        assert await one.claim("mailboxes/0", "a")
        await seen(other, lambda m: names(m) == ["a", "b"])
        await harness.expire(one)
        await seen(other, lambda m: names(m) == ["b"])
        async with asyncio.timeout(LONG_S):
            await one.lost.wait()
        assert "lease ran out" in one.lost_because
        assert await other.claim("mailboxes/0", "b")
        with pytest.raises(Unavailable):
            await one.claim("mailboxes/1", "a")

        await one.register(node("a", "2"))
        assert not one.lost.is_set()
        assert one.lost_because == ""
        await seen(other, lambda m: boots(m) == ["a.2", "b.1"])
        assert await one.claim("mailboxes/1", "a")
        assert not other.lost.is_set()


async def test_while_the_registry_is_away_nobody_leaves_and_all_is_made_good_afterwards(harness: Harness) -> None:
    async with harness.new() as one, harness.new() as two, harness.new() as three:
        await one.register(node("a"))
        await two.register(node("b"))
        assert await one.claim("mailboxes/0", "a")
        before = await seen(two, lambda m: names(m) == ["a", "b"])
        watch = two.watch()
        await anext(watch)
        async with asyncio.TaskGroup() as group:
            async with harness.outage():
                assert not one.connected
                assert await seen(two, lambda _: True) == before
                with pytest.raises(Unavailable):
                    await one.update(replace(node("a"), mailbox=5))
                with pytest.raises(Unavailable):
                    await two.put_once("settings/x", "1")
                with pytest.raises(Unavailable):
                    await two.claim("mailboxes/0", "b")
                joining = group.create_task(three.register(node("c")))
                await asyncio.sleep(0)
            assert not joining.done()
        after = await seen(two, lambda m: names(m) == ["a", "b", "c"] and m.nodes[0].mailbox == 5)
        assert boots(after) == ["a.1", "b.1", "c.1"]
        assert not await two.claim("mailboxes/0", "b")
        assert await one.claim("mailboxes/0", "a")
        assert not any(registry.lost.is_set() for registry in (one, two, three))
        assert {"a", "b"} <= set(names(await anext(watch))), "nobody was seen to leave"
        await until(lambda: one.connected)
