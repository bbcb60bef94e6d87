"""Groups of 3 and of 500: the small one by each member's inbox, the large one by a cursor."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.support.device.pipes import WAYS
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import (
    Content,
    Conversation,
    GroupRequest,
    History,
    ListConversations,
    Member,
    Message,
    Ping,
    Read,
    Send,
    Signal,
    Sync,
)

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]


async def created(owner: Wire, members: list[str], **fields: Any) -> str:
    create = GroupRequest.Create(name="team", members=members, **fields)
    return (await owner.request(group=GroupRequest(create=create))).group_info.conversation


async def said(wire: Wire, group: str, text: str) -> int:
    return (await wire.request(send=Send(client_id=text, conversation=group, content=Content(text=text)))).sent.seq


async def heard(wire: Wire, text: str) -> tuple[int, Message]:
    """(number, message) of the live message with this text."""
    while True:
        for entry in (await wire.push("deliver")).deliver.entries:
            if entry.message.content.text == text:
                return entry.number, entry.message


def acts(entries: list[Message]) -> list[str]:
    return [json.loads(message.content.data)["act"] for message in entries if message.kind == Message.SYSTEM]


async def test_three_people_talk_and_all_see_the_same_order(cluster: Cluster, name: Name) -> None:
    people = [name("ann"), name("bob"), name("cid")]
    async with AsyncExitStack() as stack:
        wires = [
            (await stack.enter_async_context(cluster.session(person, way)))[0]
            for person, way in zip(people, WAYS, strict=True)
        ]
        group = await created(wires[0], people[1:])
        for round_ in range(5):
            async with asyncio.TaskGroup() as talking:
                for person, wire in enumerate(wires):
                    talking.create_task(said(wire, group, f"{round_}.{person}"))
        histories = []
        for wire in wires:
            page = (await wire.request(history=History(conversation=group, after=0))).page
            histories.append([(entry.message.seq, entry.message.content.text) for entry in page.entries])
        assert histories[0] == histories[1] == histories[2]
        assert [seq for seq, _ in histories[0]] == list(range(1, 17))
        for wire in wires:
            page = (await wire.request(sync=Sync(after=0))).page
            assert [entry.number for entry in page.entries] == list(range(1, page.head + 1))
            assert {entry.message.content.text for entry in page.entries} >= {f"4.{person}" for person in range(3)}


async def test_a_new_member_reads_from_the_joining_on_and_a_former_one_nothing(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("bob")) as (bob, _):
        group = await created(ann, [])
        await said(ann, group, "before bob")
        await ann.request(group=GroupRequest(add=GroupRequest.Add(conversation=group, users=[name("bob")])))
        await said(ann, group, "with bob")
        page = (await bob.request(history=History(conversation=group, after=0))).page
        assert acts([entry.message for entry in page.entries]) == ["add"]
        assert [entry.message.content.text for entry in page.entries][1:] == ["with bob"]
        await ann.request(group=GroupRequest(remove=GroupRequest.Remove(conversation=group, users=[name("bob")])))
        with pytest.raises(Refused) as refused:
            await bob.request(history=History(conversation=group))
        assert refused.value.code == "FORBIDDEN"
        page = (await bob.request(sync=Sync(after=0))).page
        assert acts([entry.message for entry in page.entries])[-1] == "remove"  # the one that says so


async def test_history_that_is_shared_is_read_by_new_members(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("bob")) as (bob, _):
        group = await created(ann, [], share_history=True, open=True)
        await said(ann, group, "before bob")
        await bob.request(group=GroupRequest(join=GroupRequest.Join(conversation=group)))
        page = (await bob.request(history=History(conversation=group, after=0))).page
        assert "before bob" in [entry.message.content.text for entry in page.entries]


async def test_in_a_channel_only_owner_and_admins_send(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("bob")) as (bob, _):
        group = await created(ann, [name("bob")], channel=True)
        with pytest.raises(Refused) as refused:
            await said(bob, group, "may I?")
        assert refused.value.code == "FORBIDDEN"
        role = GroupRequest.SetRole(conversation=group, user=name("bob"), role=Member.ADMIN)
        await ann.request(group=GroupRequest(set_role=role))
        assert await said(bob, group, "now I may")


async def test_an_owner_who_leaves_is_followed_by_the_oldest_admin(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("bob")) as (bob, _):
        group = await created(ann, [name("bob"), name("cid")])
        role = GroupRequest.SetRole(conversation=group, user=name("cid"), role=Member.ADMIN)
        await ann.request(group=GroupRequest(set_role=role))
        await ann.request(group=GroupRequest(leave=GroupRequest.Leave(conversation=group)))
        page = (await bob.request(group=GroupRequest(members=GroupRequest.Members(conversation=group)))).member_page
        assert {member.user: member.role for member in page.members} == {
            name("bob"): Member.MEMBER,
            name("cid"): Member.OWNER,
        }


async def test_a_large_group_is_read_by_its_cursor(cluster: Cluster, name: Name) -> None:
    """500 members, of whom a few on each node look: nobody's inbox takes part."""
    members = [name(f"m{number:03}") for number in range(1, 500)]
    async with AsyncExitStack() as stack:
        owner, _ = await stack.enter_async_context(cluster.session(name("ann")))
        group = await created(owner, members)
        info = (await owner.request(group=GroupRequest(info=GroupRequest.Info(conversation=group)))).group_info
        assert (info.member_count, info.large_from) == (500, 1)
        wires = [
            (await stack.enter_async_context(cluster.session(member, WAYS[number % 3], visiting=number % 4 == 3)))[0]
            for number, member in enumerate(members[:20])
        ]
        seq = await said(owner, group, "hello, all of you")
        for wire in wires:
            number, message = await heard(wire, "hello, all of you")
            assert (number, message.seq, message.conversation) == (0, seq, group)
        assert (await wires[0].request(ping=Ping())).pong.inbox_head == 0

        with pytest.raises(Refused) as refused:
            await wires[0].request(signal=Signal(conversation=group, name="typing"))
        assert refused.value.code == "FORBIDDEN"
        await wires[0].request(read=Read(conversation=group, seq=seq))
        listed = (await wires[0].request(conversations=ListConversations())).conversation_page.conversations
        mine = next(entry for entry in listed if entry.conversation == group)
        assert (mine.kind, mine.read_seq, mine.large_from) == (Conversation.GROUP, seq, 1)
        ask = GroupRequest(members=GroupRequest.Members(conversation=group))
        assert (await wires[1].request(group=ask)).member_page.more


async def test_who_was_away_from_a_large_group_finds_its_head_in_the_welcome(cluster: Cluster, name: Name) -> None:
    members = [name(f"m{number:03}") for number in range(1, 260)]
    async with cluster.session(name("ann")) as (owner, _):
        group = await created(owner, members)
        first = await said(owner, group, "one")
        await said(owner, group, "two")
        last = await said(owner, group, "three")
        async with cluster.session(members[0], group_cursors={group: first}) as (wire, welcome):
            assert welcome.group_heads[group] == last
            page = (await wire.request(history=History(conversation=group, after=first))).page
            assert [entry.message.content.text for entry in page.entries] == ["two", "three"]
            assert [entry.number for entry in page.entries] == [0, 0]
        async with cluster.session(members[0], group_cursors={group: last}) as (_, welcome):
            assert group not in welcome.group_heads


async def test_a_group_that_grows_over_the_threshold_becomes_large(cluster: Cluster, name: Name) -> None:
    members = [name(f"m{number:03}") for number in range(1, 200)]
    async with cluster.session(name("ann")) as (owner, _), cluster.session(members[0]) as (member, _):
        group = await created(owner, members)  # 200 with its owner
        await said(owner, group, "still small")
        number, _ = await heard(member, "still small")
        assert number > 0
        await owner.request(group=GroupRequest(add=GroupRequest.Add(conversation=group, users=[name("one-more")])))
        seq = await said(owner, group, "large now")
        number, message = await heard(member, "large now")
        assert (number, message.seq) == (0, seq)
        info = (await member.request(group=GroupRequest(info=GroupRequest.Info(conversation=group)))).group_info
        assert 0 < info.large_from <= seq
        page = (await member.request(history=History(conversation=group, before=info.large_from, limit=1))).page
        assert acts([entry.message for entry in page.entries]) == ["large"]
