"""Messages that are recalled: by whom, and that nothing of them is left."""

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
    listed,
    live,
    page,
    recall,
    refusal,
    say,
    shown,
    synced,
)
from tests.support.device.pipes import WAYS, Way
from tidings_protocol.client_pb2 import GroupRequest, Member, ReactorsRequest
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
async def test_of_a_recalled_message_nothing_is_left(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "the secret", headers={"k": "the secret"}, mentions=[name("bob")])
        await edit(ann, chat, 1, "the secret too")
        await change(ann, chat, 1, pin=True)
        await change(bob, chat, 1, react="+")
        recalled = await recall(ann, chat, 1)
        assert recalled.state.recalled_by == name("ann")
        assert (list(recalled.state.reactions), recalled.state.pinned) == ([], False)
        told = await live(bob, chat, recalled.seq)
        assert (told.state.recalled_by, told.change.WhichOneof("act")) == (name("ann"), "recall")
        found = await page(bob, chat, changes=True)
        mine = await listed(bob, chat)
        for message in (found.entries[0].message, (await synced(bob))[0].message, mine.last):
            assert (message.seq, message.sender, message.ordinal) == (1, name("ann"), 1)
            assert not message.HasField("content")
            assert message.state == recalled.state
        for frame in (found, await page(bob, chat, changes=True, after=1), mine):
            assert b"the secret" not in frame.SerializeToString()
        assert (list(mine.pinned), mine.unread, mine.unread_mentions, mine.first_mention_seq) == ([], 0, 0, 0)
        reactors = await bob.request(reactors=ReactorsRequest(conversation=chat, seq=1))
        assert list(reactors.reactor_page.reactors) == []


@each_way
async def test_a_second_recall_is_sent_without_effect(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")])
        seq = (await say(bob, group, "oh")).seq
        first = await recall(bob, group, seq)
        second = await recall(ann, group, seq)
        assert second.state == first.state
        assert second.state.recalled_by == name("bob")
        assert (await page(ann, group)).head == first.seq


@each_way
async def test_what_is_recalled_is_not_edited_pinned_or_reacted_to(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "oh")
        await recall(ann, chat, 1)
        assert await refusal(edit(ann, chat, 1, "again")) == "FORBIDDEN"
        assert await refusal(change(bob, chat, 1, pin=True)) == "FORBIDDEN"
        assert await refusal(change(bob, chat, 1, react="+")) == "FORBIDDEN"
        assert (await page(ann, chat)).head == 2


@each_way
async def test_owner_and_admins_recall_in_groups_but_an_admin_not_the_owners(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, adam, abe, bob = await people.come("ann", "adam", "abe", "bob")
        group = await created(ann, [name("adam"), name("abe"), name("bob")])
        for each in ("adam", "abe"):
            await act(ann, set_role=GroupRequest.SetRole(conversation=group, user=name(each), role=Member.ADMIN))

        async def by(wire: object, of: object) -> str:
            seq = (await say(of, group, "said")).seq  # type: ignore[arg-type]
            code = await refusal(recall(wire, group, seq))  # type: ignore[arg-type]
            assert bool((await shown(bob, group, seq)).state.recalled_by) == (not code)
            return code

        assert await by(bob, of=abe) == "FORBIDDEN"
        assert await by(bob, of=ann) == "FORBIDDEN"
        assert await by(adam, of=ann) == "FORBIDDEN"
        assert await by(adam, of=abe) == ""
        assert await by(adam, of=bob) == ""
        assert await by(ann, of=adam) == ""
        assert await by(ann, of=bob) == ""
        assert await by(ann, of=ann) == ""
        seq = (await say(bob, group, "and gone")).seq
        await act(bob, leave=GroupRequest.Leave(conversation=group))
        assert (await recall(adam, group, seq)).state.recalled_by == name("adam")


@each_way
async def test_in_a_direct_chat_each_recalls_their_own(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "mine")
        assert await refusal(recall(bob, chat, 1)) == "FORBIDDEN"
        assert await refusal(recall(ann, chat, 1)) == ""


@each_way
async def test_an_edit_after_a_recall_is_refused_whoever_was_first_at_the_door(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        (laptop,) = await people.come("ann", device="laptop", visiting=True)
        chat = direct(name("ann"), name("bob"))
        for number in range(5):
            seq = (await say(ann, chat, f"m{number}")).seq
            recalled = await recall(laptop, chat, seq)
            assert await refusal(edit(ann, chat, seq, "late")) == "FORBIDDEN"
            assert (await page(ann, chat)).head == recalled.seq
