"""Messages that are pinned: by whom, how many, and where it is seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.talk import People, act, change, created, group_info, listed, page, recall, refusal, say, shown
from tests.support.device.pipes import WAYS, Way
from tidings_protocol.client_pb2 import GroupRequest, Member
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
async def test_in_a_direct_chat_both_pin_and_the_newest_pin_is_first(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        for text in ("one", "two", "three"):
            await say(ann, chat, text)
        for wire, seq in ((ann, 2), (bob, 3), (bob, 1)):
            assert (await change(wire, chat, seq, pin=True)).state.pinned
        for wire in (ann, bob):
            assert list((await listed(wire, chat)).pinned) == [1, 3, 2]
            assert (await shown(wire, chat, 3)).state.pinned
        assert not (await change(ann, chat, 3, pin=False)).state.pinned
        await recall(ann, chat, 2)
        assert list((await listed(bob, chat)).pinned) == [1]


@each_way
async def test_in_a_group_owner_and_admins_pin(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, adam, bob = await people.come("ann", "adam", "bob")
        group = await created(ann, [name("adam"), name("bob")])
        await act(ann, set_role=GroupRequest.SetRole(conversation=group, user=name("adam"), role=Member.ADMIN))
        one, two = (await say(bob, group, "one")).seq, (await say(ann, group, "two")).seq
        assert await refusal(change(bob, group, one, pin=True)) == "FORBIDDEN"
        await change(adam, group, one, pin=True)
        await change(ann, group, two, pin=True)
        assert await refusal(change(bob, group, one, pin=False)) == "FORBIDDEN"
        assert list((await group_info(bob, group)).pinned) == [two, one]
        assert list((await listed(bob, group)).pinned) == [two, one]
        await recall(bob, group, one)
        assert list((await group_info(bob, group)).pinned) == [two]


@each_way
async def test_a_pin_that_is_so_already_changes_nothing(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "one")
        await say(ann, chat, "two")
        assert not (await change(ann, chat, 1, pin=False)).state.pinned
        assert (await page(ann, chat)).head == 2
        first = await change(ann, chat, 1, pin=True)
        await change(ann, chat, 2, pin=True)
        again = await change(bob, chat, 1, pin=True)
        assert again.state == first.state
        assert (await page(ann, chat)).head == 4
        assert list((await listed(ann, chat)).pinned) == [2, 1]


async def test_of_fifty_one_pins_the_last_is_a_bad_request(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "proto") as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        for number in range(51):
            await say(ann, chat, str(number))
        for seq in range(1, 51):
            await change(ann, chat, seq, pin=True)
        assert await refusal(change(ann, chat, 51, pin=True)) == "BAD_REQUEST"
        assert list((await listed(ann, chat)).pinned) == list(range(50, 0, -1))
        assert (await page(ann, chat)).head == 101
        await change(ann, chat, 7, pin=False)
        assert (await change(ann, chat, 51, pin=True)).state.pinned
        await recall(ann, chat, 51)
        assert (await change(ann, chat, 7, pin=True)).state.pinned
