"""Changes that come at once, behind one another, twice, or from who should not know what they are about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

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
    live,
    page,
    recall,
    refusal,
    say,
    shown,
    still_waiting,
    synced,
    until,
)
from tests.support.device.pipes import WAYS, Way
from tidings_protocol.client_pb2 import Change, Content, GroupRequest, Member, Message, Ping, Send
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)


async def together(*asked: Awaitable[Any]) -> list[str]:
    """How these are refused, all asked at once."""
    return list(await asyncio.gather(*(refusal(each) for each in asked)))


@each_way
async def test_what_one_connection_says_about_a_conversation_is_done_in_its_order(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        frames = [
            await ann.post(send=Send(client_id="1", conversation=chat, content=Content(text="helo"))),
            await ann.post(change=Change(client_id="2", conversation=chat, seq=1, edit=Content(text="hello"))),
            await ann.post(send=Send(client_id="3", conversation=chat, content=Content(text="you", reply_to=1))),
            await ann.post(change=Change(client_id="4", conversation=chat, seq=3, pin=True)),
            await ann.post(change=Change(client_id="5", conversation=chat, seq=3, recall=Change.Recall())),
            await ann.post(send=Send(client_id="6", conversation=chat, content=Content(text="bye"))),
        ]
        answers = [(await ann.reply(frame)).sent for frame in frames]
        assert [each.seq for each in answers] == [1, 2, 3, 4, 5, 6]
        assert answers[4].state.recalled_by == name("ann")
        seqs: list[int] = []
        while len(seqs) < 6:
            seqs += [entry.message.seq for entry in (await bob.push("deliver")).deliver.entries]
        assert seqs == [1, 2, 3, 4, 5, 6]


@each_way
async def test_a_change_that_is_said_twice_at_once_is_one(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        (laptop,) = await people.come("ann", device="laptop", visiting=True)
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "helo")
        for number in range(4):
            same = [edit(wire, chat, 1, "hello", client_id=f"e{number}") for wire in (ann, laptop, ann)]
            answers = await asyncio.gather(*same)
            assert len({each.seq for each in answers}) == len({each.message_id for each in answers}) == 1
            assert sorted(each.duplicate for each in answers) == [False, True, True]
        assert (await page(ann, chat)).head == 5


@each_way
async def test_a_send_and_a_change_with_one_client_id_at_once_are_one_of_them(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "helo")
        codes = await together(edit(ann, chat, 1, "hello", client_id="x"), say(ann, chat, "more", client_id="x"))
        assert sorted(codes) == ["", "BAD_REQUEST"]
        assert (await page(ann, chat)).head == 2


async def test_of_many_pins_at_once_fifty_are_made(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "proto") as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        for number in range(56):
            await say(ann, chat, str(number))
        wires = [ann, bob]
        codes = await together(*(change(wires[seq % 2], chat, seq, pin=True) for seq in range(1, 57)))
        assert sorted(codes) == [""] * 50 + ["BAD_REQUEST"] * 6
        mine = await listed(ann, chat)
        assert len(set(mine.pinned)) == 50
        assert mine.head == 106


async def test_of_many_reactions_at_once_twenty_are_on_the_message(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "proto") as people:
        users = ["ann", "bob", "cid", "dee", "eli"]
        wires = await people.come(*users)
        group = await created(wires[0], [name(each) for each in users[1:]])
        seq = (await say(wires[0], group, "hi")).seq
        codes = await together(
            *(change(wire, group, seq, react=f"{user}.{n}") for n in range(7) for user, wire in enumerate(wires))
        )
        assert codes.count("") == 20
        assert set(codes) == {"", "BAD_REQUEST"}

        async def is_announced() -> bool:
            return len((await shown(wires[0], group, seq)).state.reactions) == 20

        await until(is_announced, 3)
        told = [entry.message for entry in (await page(wires[0], group, after=seq, changes=True)).entries]
        assert all(len(each.change.reacted.added) <= 20 for each in told)


@each_way
async def test_a_recall_among_edits_has_the_last_word(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        (laptop,) = await people.come("ann", device="laptop", visiting=True)
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "secret")
        edits = [edit((ann, laptop)[number % 2], chat, 1, f"secret {number}") for number in range(10)]
        codes = await together(*edits[:5], recall(laptop, chat, 1), *edits[5:])
        assert set(codes) <= {"", "FORBIDDEN"}
        found = await page(bob, chat, changes=True)
        assert found.head == 1 + codes.count("")
        assert found.entries[-1].message.change.WhichOneof("act") == "recall"
        assert b"secret" not in found.SerializeToString()
        for entry in found.entries:
            assert (entry.message.state.recalled_by, entry.message.state.revision) == (name("ann"), found.head)


@each_way
async def test_a_change_of_what_lies_before_ones_joining_tells_nothing_of_it(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [])
        seq = (await say(ann, group, "a secret")).seq
        await act(ann, add=GroupRequest.Add(conversation=group, users=[name("bob")]))
        changed = await edit(ann, group, seq, "a secret still", mentions=[name("bob")])
        await say(ann, group, "later")
        await live(bob, group, changed.seq + 1)
        frames = [
            await page(bob, group, changes=True),
            (await listed(bob, group)),
            *(frame for frame in bob.received if frame.WhichOneof("body") == "deliver"),
            *(await synced(bob)),
        ]
        for frame in frames:
            assert b"a secret" not in frame.SerializeToString(), frame


@each_way
async def test_in_a_large_group_changes_go_by_the_cursor(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob, cid = await people.come("ann", "bob", "cid")
        group = await created(ann, [name("bob"), name("cid"), *(name(f"m{number}") for number in range(200))])
        seq = (await say(bob, group, "helo")).seq
        edited = await edit(bob, group, seq, "hello")
        assert (edited.seq, edited.number) == (seq + 1, 0)
        reacted = await change(cid, group, seq, react="+")
        pinned = await change(ann, group, seq, pin=True)
        for act_, answer in (("edit", edited), ("reacted", reacted), ("pin", pinned)):
            wire = cid if act_ != "reacted" else bob
            told = await live(wire, group, answer.seq)
            assert (told.kind, told.change.WhichOneof("act")) == (Message.CHANGE, act_)
            assert told.state.revision == answer.seq
        await hide(cid, group, seq)
        recalled = await recall(ann, group, seq)
        assert await live(cid, group, recalled.seq) == Message(conversation=group, seq=recalled.seq)
        assert (await live(bob, group, recalled.seq)).state.recalled_by == name("ann")
        assert (await bob.request(ping=Ping())).pong.inbox_head == 0
        assert await synced(bob) == []
        mine = await listed(bob, group)
        assert (mine.head, mine.unread, list(mine.pinned)) == (recalled.seq, 0, [])


@each_way
async def test_in_a_large_group_an_admin_recalls_but_not_the_owners(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, adam, bob = await people.come("ann", "adam", "bob")
        group = await created(ann, [name("adam"), name("bob"), *(name(f"m{number}") for number in range(200))])
        await act(ann, set_role=GroupRequest.SetRole(conversation=group, user=name("adam"), role=Member.ADMIN))
        mine, theirs = (await say(ann, group, "the owner's")).seq, (await say(bob, group, "a member's")).seq
        assert await refusal(recall(adam, group, mine)) == "FORBIDDEN"
        assert await refusal(recall(bob, group, mine)) == "FORBIDDEN"
        assert await refusal(recall(adam, group, theirs)) == ""


@each_way
async def test_a_change_that_is_none_is_a_bad_request(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "one")
        for asked in (
            Change(conversation=chat, seq=1, pin=True),
            Change(client_id="x" * 65, conversation=chat, seq=1, pin=True),
            Change(client_id="1", seq=1, pin=True),
            Change(client_id="2", conversation="what?", seq=1, pin=True),
            Change(client_id="3", conversation=chat, seq=1),
            Change(client_id="4", conversation=chat, seq=1, reacted=Change.Reacted()),
            Change(client_id="~tidings", conversation=chat, seq=1, reacted=Change.Reacted()),
        ):
            assert await refusal(ann.request(change=asked)) == "BAD_REQUEST", asked
        nowhere = Change(client_id="5", conversation=chat, pin=True)
        assert await refusal(ann.request(change=nowhere)) in {"BAD_REQUEST", "NOT_FOUND"}
        assert (await page(bob, chat, changes=True)).head == 1
        assert [each.seq for each in await still_waiting(bob)] == [1]


@each_way
async def test_in_what_the_operator_says_to_all_nobody_changes_anything(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        for asked in (
            edit(ann, "b:all", 1, "x"),
            recall(ann, "b:all", 1),
            change(ann, "b:all", 1, pin=True),
            change(ann, "b:all", 1, react="+"),
        ):
            assert await refusal(asked) in {"FORBIDDEN", "NOT_FOUND"}


@each_way
async def test_who_comes_back_to_a_group_changes_what_is_their_own_since(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")], open=True)
        before = (await say(bob, group, "before")).seq
        await act(bob, leave=GroupRequest.Leave(conversation=group))
        await act(bob, join=GroupRequest.Join(conversation=group))
        assert await refusal(edit(bob, group, before, "changed")) == "NOT_FOUND"
        assert await refusal(recall(bob, group, before)) == "NOT_FOUND"
        since = (await say(bob, group, "since")).seq
        assert await refusal(edit(bob, group, since, "changed")) == ""
