"""What is unread, and who is mentioned."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.talk import (
    People,
    act,
    change,
    created,
    edit,
    hide,
    listed,
    page,
    read,
    recall,
    refusal,
    say,
    shown,
    synced,
)
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Wire
from tidings_protocol.client_pb2 import Ack, GroupRequest, Member
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)


async def unread(wire: Wire, conversation: str) -> int:
    return (await listed(wire, conversation)).unread


async def mentions(wire: Wire, conversation: str) -> tuple[int, int]:
    """How many are unread, and the oldest of them."""
    mine = await listed(wire, conversation)
    return mine.unread_mentions, mine.first_mention_seq


@each_way
async def test_ordinals_are_dense_from_one_and_changes_have_none(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        group = await created(ann, [name("bob")])
        seq = (await say(ann, group, "one")).seq
        await edit(ann, group, seq, "uno")
        await change(ann, group, seq, pin=True)
        await say(ann, group, "two")
        await change(ann, group, seq, react="+")
        await act(ann, rename=GroupRequest.Rename(conversation=group, name="crew"))
        found = (await page(ann, group, changes=True)).entries
        assert [entry.message.ordinal for entry in found] == [1, 2, 0, 0, 3, 0, 4]


@each_way
async def test_unread_is_what_lies_beyond_the_read_position_less_ones_own(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")])
        assert (await unread(ann, group), await unread(bob, group)) == (0, 0), "the notice is where they begin"
        one = (await say(ann, group, "one")).seq
        await edit(ann, group, one, "uno")
        two = (await say(ann, group, "two")).seq
        assert (await unread(ann, group), await unread(bob, group)) == (0, 2)
        await read(bob, group, one)
        mine = await listed(bob, group)
        assert (mine.unread, mine.read_seq, mine.read_ordinal) == (1, one, 2)
        await read(bob, group, two - 1)  # a change
        mine = await listed(bob, group)
        assert (mine.unread, mine.read_seq, mine.read_ordinal) == (1, two - 1, 2)
        await read(bob, group, two)
        mine = await listed(bob, group)
        assert (mine.unread, mine.read_ordinal) == (0, 3)
        await act(ann, rename=GroupRequest.Rename(conversation=group, name="crew"))
        assert (await unread(ann, group), await unread(bob, group)) == (0, 1), "a notice is its maker's own"


@each_way
async def test_hidden_and_recalled_messages_are_not_unread(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        for number in range(1, 6):
            await say(ann, chat, str(number), mentions=[name("bob")])
        assert (await unread(bob, chat), await mentions(bob, chat)) == (5, (5, 1))
        await recall(ann, chat, 1)
        assert (await unread(bob, chat), await mentions(bob, chat)) == (4, (4, 2))
        await hide(bob, chat, 2)
        assert (await unread(bob, chat), await mentions(bob, chat)) == (3, (3, 3))
        await recall(ann, chat, 2)
        assert (await unread(bob, chat), await mentions(bob, chat)) == (3, (3, 3)), "not taken off twice"
        await hide(bob, chat, through=4)
        mine = await listed(bob, chat)
        assert (mine.unread, mine.unread_mentions, mine.first_mention_seq) == (1, 1, 5)
        assert (mine.last.seq, mine.hidden_through) == (5, 4)
        await hide(bob, chat, 5)
        mine = await listed(bob, chat)
        assert (mine.unread, mine.unread_mentions, mine.first_mention_seq) == (0, 0, 0)
        assert not mine.HasField("last")


@each_way
async def test_sending_reads_what_ones_devices_hold_and_nothing_else(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "one")
        await say(ann, chat, "two")
        await say(bob, chat, "not seen yet")
        mine = await listed(bob, chat)
        assert (mine.read_seq, mine.unread) == (0, 2)
        await bob.post(ack=Ack(number=3))
        assert (await ann.push("receipt")).receipt.delivered_seq >= 2
        await say(bob, chat, "seen")
        mine = await listed(bob, chat)
        assert (mine.read_seq, mine.unread) == (4, 0)
        await edit(ann, chat, 1, "uno")
        mine = await listed(bob, chat)
        assert (mine.read_seq, mine.unread) == (4, 0)


@each_way
async def test_who_is_a_member_has_a_mention_and_all_are_kept_as_they_were_given(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob, eve = await people.come("ann", "bob", "eve")
        group = await created(ann, [name("bob")])
        seq = (await say(ann, group, "you", mentions=[name("eve"), name("bob"), name("ann"), name("bob")])).seq
        given = [name("eve"), name("bob"), name("ann"), name("bob")]
        for wire in (ann, bob):
            assert list((await shown(wire, group, seq)).content.mentions) == given
        assert list((await synced(bob))[-1].message.content.mentions) == given
        assert await mentions(bob, group) == (1, seq)
        assert (await mentions(ann, group))[0] == 0
        await act(ann, add=GroupRequest.Add(conversation=group, users=[name("eve")]))
        assert await mentions(eve, group) == (0, 0), "others never"
        await read(bob, group, seq)
        assert await mentions(bob, group) == (0, 0)


@each_way
async def test_too_many_mentions_are_a_bad_request(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        many = [f"u{number}" for number in range(51)]
        assert await refusal(say(ann, chat, "you", mentions=many)) == "BAD_REQUEST"
        assert await refusal(say(ann, chat, "you", mentions=["not a name!"])) == "BAD_REQUEST"
        assert await refusal(say(ann, chat, "you", mentions=many[:50])) == ""


@each_way
async def test_an_edit_brings_a_mention_at_its_own_place_and_takes_one_away(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "nobody")
        await say(ann, chat, "nobody")
        await read(bob, chat, 2)
        edited = await edit(ann, chat, 1, "bob!", mentions=[name("bob")])
        assert await mentions(bob, chat) == (1, edited.seq)
        assert await unread(bob, chat) == 0
        kept = await edit(ann, chat, 1, "bob!!", mentions=[name("bob")])
        assert (await mentions(bob, chat))[0] == 1
        await read(bob, chat, edited.seq)
        assert (await mentions(bob, chat))[0] == 0, "it counts where it was brought"
        await edit(ann, chat, 1, "nobody")
        again = await edit(ann, chat, 1, "bob, again", mentions=[name("bob")])
        assert (await mentions(bob, chat))[0] == 1
        assert again.seq > kept.seq
        await edit(ann, chat, 1, "nobody")
        assert await mentions(bob, chat) == (0, 0)


@each_way
async def test_everybody_is_mentioned_by_owner_and_admins_and_by_all_of_a_few(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, adam, bob = await people.come("ann", "adam", "bob")
        others = [name(f"m{number}") for number in range(17)]
        group = await created(ann, [name("adam"), name("bob"), *others])
        await act(ann, set_role=GroupRequest.SetRole(conversation=group, user=name("adam"), role=Member.ADMIN))
        first = (await say(bob, group, "all of you", mention_all=True)).seq
        assert await mentions(ann, group) == (1, first)
        assert (await mentions(bob, group))[0] == 0, "not oneself"
        assert (await shown(ann, group, first)).content.mention_all
        await act(ann, add=GroupRequest.Add(conversation=group, users=[name("one-more")]))
        assert await refusal(say(bob, group, "all of you", mention_all=True)) == "FORBIDDEN"
        plain = (await say(bob, group, "you few")).seq
        assert await refusal(edit(bob, group, plain, "all", mention_all=True)) == "FORBIDDEN"
        second = (await say(adam, group, "all of you", mention_all=True)).seq
        await say(ann, group, "all of you", mention_all=True)
        assert await mentions(bob, group) == (2, second)
        # Who comes later was not meant.
        await act(ann, add=GroupRequest.Add(conversation=group, users=[name("late")]))
        (late,) = await people.come("late")
        assert await mentions(late, group) == (0, 0)


async def test_mentions_in_a_large_group(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "json") as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob"), *(name(f"m{number}") for number in range(200))])
        first = (await say(ann, group, "you", mentions=[name("bob")])).seq
        await say(ann, group, "all", mention_all=True)
        mine = await listed(bob, group)
        assert (mine.unread_mentions, mine.first_mention_seq, mine.unread) == (2, first, 2)
        await recall(ann, group, first)
        mine = await listed(bob, group)
        assert (mine.unread_mentions, mine.unread) == (1, 1)


async def test_of_many_mentions_a_hundred_are_counted(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "proto") as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        for number in range(105):
            await say(ann, chat, str(number), mentions=[name("bob")])
        mine = await listed(bob, chat)
        assert (mine.unread, mine.unread_mentions, mine.first_mention_seq) == (105, 100, 1)


@each_way
async def test_what_a_new_member_cannot_read_is_not_unread(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [])
        for number in range(3):
            seq = (await say(ann, group, str(number))).seq
            await edit(ann, group, seq, f"{number}!")
        await act(ann, add=GroupRequest.Add(conversation=group, users=[name("bob")]))
        mine = await listed(bob, group)
        assert (mine.unread, mine.read_seq, mine.read_ordinal) == (0, 8, 5)
        await say(ann, group, "hello")
        assert await unread(bob, group) == 1
