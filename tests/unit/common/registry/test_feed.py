"""The feed of memberships: each watcher sees the present one, then the latest after a change."""

from __future__ import annotations

import asyncio

from services.common.registry.contract import Membership, NodeRecord
from services.common.registry.feed import MembershipFeed

ONE = Membership.of(1, [NodeRecord("a", "logic", "boot-a", "a:1")])
TWO = Membership.of(2, [NodeRecord("b", "logic", "boot-b", "b:1")])
THREE = Membership.of(3, [NodeRecord("c", "logic", "boot-c", "c:1")])


async def test_a_watcher_sees_the_present_membership_and_passes_over_what_it_was_too_slow_for() -> None:
    feed = MembershipFeed()
    feed.publish(ONE)
    watcher = feed.watch()
    assert await anext(watcher) == ONE
    feed.publish(TWO)
    feed.publish(THREE)
    assert await anext(watcher) == THREE
    assert await anext(feed.watch()) == THREE


async def test_an_equal_membership_is_told_to_nobody() -> None:
    feed = MembershipFeed()
    feed.publish(ONE)
    watcher = feed.watch()
    await anext(watcher)
    waiting = asyncio.ensure_future(anext(watcher))
    await asyncio.sleep(0)
    feed.publish(Membership.of(1, [NodeRecord("a", "logic", "boot-a", "a:1")]))
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.publish(TWO)
    assert await waiting == TWO
