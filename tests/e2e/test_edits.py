"""Messages that are edited: by whom, into what, and what is left of what they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.talk import People, act, change, created, edit, live, mute, page, recall, refusal, say, shown, update
from tests.support.device.pipes import WAYS, Way
from tidings_protocol.client_pb2 import BlockRequest, Content, GroupRequest, Member
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
async def test_only_the_sender_edits_not_even_the_owner(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")])
        seq = (await say(bob, group, "mine")).seq
        assert await refusal(edit(ann, group, seq, "the owner's")) == "FORBIDDEN"
        assert (await edit(bob, group, seq, "mine again")).state.edited_ms
        assert (await shown(ann, group, seq)).content.text == "mine again"


@each_way
async def test_anything_becomes_anything_but_what_stays(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "first")
        await say(ann, chat, "second", reply_to=1, expire_after_s=3600, headers={"a": "1"}, mentions=[name("bob")])
        before = await shown(bob, chat, 2)
        new = Content(data=b"\x00\xff", mime="x/y", headers={"b": "2"}, reply_to=0, streaming=True)
        edited = await change(ann, chat, 2, edit=new)
        assert not edited.state.streaming
        for message in (await shown(bob, chat, 2), await shown(ann, chat, 2)):
            wanted = Content(data=b"\x00\xff", mime="x/y", headers={"b": "2"}, reply_to=1, expire_after_s=3600)
            assert message.content == wanted
            assert message.expires_ms == before.expires_ms > 0
            assert (message.ordinal, message.time_ms, message.seq) == (before.ordinal, before.time_ms, 2)
        told = await live(bob, chat, edited.seq)
        assert (told.change.edit.data, told.change.edit.reply_to) == (b"\x00\xff", 1)
        await edit(ann, chat, 2, "text again", reply_to=1)
        assert (await shown(bob, chat, 2)).content.text == "text again"


@each_way
async def test_the_content_of_an_edit_is_ruled_as_that_of_a_send(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "first")
        for content, code in (
            (Content(text=""), "BAD_REQUEST"),
            (Content(data=b""), "BAD_REQUEST"),
            (Content(), "BAD_REQUEST"),
            (Content(text="x" * 32_769), "TOO_LARGE"),
            (Content(text="x", headers={str(n): "v" for n in range(17)}), "TOO_LARGE"),
            (Content(text="x", mentions=[f"u{n}" for n in range(51)]), "BAD_REQUEST"),
        ):
            assert await refusal(change(ann, chat, 1, edit=content)) == code
        assert (await page(ann, chat)).head == 1
        assert (await edit(ann, chat, 1, "x" * 32_768)).seq == 2


@each_way
async def test_of_former_contents_nothing_is_left(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "the first")
        await edit(ann, chat, 1, "the second")
        await change(ann, chat, 1, pin=True)
        last = await edit(ann, chat, 1, "the third")
        changes = [entry.message for entry in (await page(bob, chat, changes=True, after=1)).entries]
        assert [each.change.WhichOneof("act") for each in changes] == ["edit", "pin", "edit"]
        assert [each.change.edit.text for each in changes] == ["", "", "the third"]
        assert [each.state.revision for each in changes] == [last.seq] * 3, "the present state of the target"
        found = await page(bob, chat, changes=True)
        assert b"the first" not in found.SerializeToString()
        assert b"the second" not in found.SerializeToString()


@each_way
async def test_an_edit_to_the_same_content_is_a_change_like_any_other(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "same")
        edited = await edit(ann, chat, 1, "same")
        assert (edited.seq, edited.state.revision) == (2, 2)
        assert (await live(bob, chat, 2)).change.edit.text == "same"


@each_way
async def test_who_may_not_send_there_may_not_edit_nor_pin_but_recall_and_unreact(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")])

        async def is_held(conversation: str, seq: int) -> None:
            assert await refusal(edit(bob, conversation, seq, "changed")) == "FORBIDDEN"
            assert await refusal(change(bob, conversation, seq, pin=True)) == "FORBIDDEN"
            assert await refusal(say(bob, conversation, "", streaming=True)) == "FORBIDDEN"
            assert not (await change(bob, conversation, seq, unreact="+")).duplicate
            assert (await recall(bob, conversation, seq)).state.recalled_by == name("bob")

        async def said_and_liked(conversation: str) -> int:
            seq = (await say(bob, conversation, "hello")).seq
            await change(bob, conversation, seq, react="+")
            return seq

        seq = await said_and_liked(group)
        await mute(ann, group, name("bob"))
        await is_held(group, seq)
        await mute(ann, group, name("bob"), 0)

        seq = await said_and_liked(group)
        await update(ann, group, muted=True)
        await is_held(group, seq)
        await update(ann, group, muted=False)

        seq = await said_and_liked(group)
        await update(ann, group, channel=True)
        await is_held(group, seq)

        chat = direct(name("ann"), name("bob"))
        seq = await said_and_liked(chat)
        await ann.request(block=BlockRequest(set=BlockRequest.Set(users=[name("bob")], blocked=True)))
        assert await refusal(edit(bob, chat, seq, "changed")) == "FORBIDDEN"
        assert await refusal(change(bob, chat, seq, pin=True)) == "FORBIDDEN"
        assert (await recall(bob, chat, seq)).state.recalled_by == name("bob")


@each_way
async def test_an_admin_in_a_channel_edits_and_one_who_is_no_admin_any_more_does_not(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")], channel=True)
        await act(ann, set_role=GroupRequest.SetRole(conversation=group, user=name("bob"), role=Member.ADMIN))
        seq = (await say(bob, group, "news")).seq
        assert await refusal(edit(bob, group, seq, "newer")) == ""
        await act(ann, set_role=GroupRequest.SetRole(conversation=group, user=name("bob"), role=Member.MEMBER))
        assert await refusal(edit(bob, group, seq, "newest")) == "FORBIDDEN"


@each_way
async def test_an_edit_does_not_wait_as_a_send_does_in_a_slow_group(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")])
        await update(ann, group, slow_s=3600)
        seq = (await say(bob, group, "once")).seq
        assert await refusal(edit(bob, group, seq, "once, mended")) == ""
        assert await refusal(say(bob, group, "twice")) == "FORBIDDEN"
