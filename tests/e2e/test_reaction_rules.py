"""Reactions: who may, how many, when they are announced, and how they are read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.talk import (
    People,
    act,
    change,
    created,
    listed,
    live,
    mute,
    page,
    recall,
    refusal,
    say,
    shown,
    still_waiting,
    until,
    update,
)
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Wire
from tidings_protocol.client_pb2 import (
    BlockRequest,
    GroupRequest,
    Message,
    ReactorPage,
    ReactorsRequest,
    Sent,
    State,
)
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)
GATHERED_S = 3.0


async def react(wire: Wire, conversation: str, seq: int, reaction: str, client_id: str = "") -> Sent:
    return await change(wire, conversation, seq, react=reaction, client_id=client_id)


async def unreact(wire: Wire, conversation: str, seq: int, reaction: str) -> Sent:
    return await change(wire, conversation, seq, unreact=reaction)


async def reactors(wire: Wire, conversation: str, seq: int, **fields: object) -> ReactorPage:
    asked = ReactorsRequest(conversation=conversation, seq=seq, **fields)  # type: ignore[arg-type]
    return (await wire.request(reactors=asked)).reactor_page


def counts(state: State) -> list[tuple[str, int]]:
    return [(each.reaction, each.count) for each in state.reactions]


async def until_counted(wire: Wire, conversation: str, seq: int, wanted: list[tuple[str, int]]) -> Message:
    """The message, once its reactions are these."""
    found: list[Message] = []

    async def look() -> bool:
        found[:] = [await shown(wire, conversation, seq)]
        return counts(found[0].state) == wanted

    await until(look, GATHERED_S)
    return found[0]


@each_way
async def test_a_reaction_is_announced_at_once_by_a_change(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        (laptop,) = await people.come("bob", device="laptop", visiting=True)
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "hi")
        sent = await react(bob, chat, 1, "👍", client_id="r")
        assert (sent.client_id, sent.conversation, sent.seq) == ("r", chat, 2)
        assert counts(sent.state) == [("👍", 1)]
        assert sent.state.revision == 2
        for wire in (ann, laptop):
            told = await live(wire, chat, 2)
            assert (told.kind, told.sender, told.client_id) == (Message.CHANGE, name("bob"), "")
            assert [(each.user, each.reaction) for each in told.change.reacted.added] == [(name("bob"), "👍")]
            assert (told.change.seq, list(told.change.reacted.removed)) == (1, [])
            (reaction,) = told.state.reactions
            assert (reaction.reaction, reaction.count, list(reaction.users)) == ("👍", 1, [name("bob")])
            assert not reaction.mine, "left out in what is pushed"
        assert 2 not in [each.seq for each in await still_waiting(bob)]


@each_way
async def test_reactions_in_a_row_are_gathered_into_one_entry(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob, cid = await people.come("ann", "bob", "cid")
        group = await created(ann, [name("bob"), name("cid")])
        seq = (await say(ann, group, "hi")).seq
        first = await react(ann, group, seq, "a")
        assert first.seq == seq + 1
        later = await react(bob, group, seq, "a"), await react(cid, group, seq, "b")
        assert [each.seq for each in later] == [0, 0], "their entry is still to come"
        told = await live(ann, group, seq + 2)
        assert counts(told.state) == [("a", 2), ("b", 1)]
        came = {(each.user, each.reaction) for each in told.change.reacted.added}
        assert came == {(name("bob"), "a"), (name("cid"), "b")}
        assert told.sender == name("cid"), "who acted last"
        assert (await page(ann, group)).head == seq + 2
        for wire in (bob, cid):
            assert (await live(wire, group, seq + 2)).state == told.state


@each_way
async def test_reacting_again_changes_nothing(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "hi")
        first = await react(bob, chat, 1, "+", client_id="r")
        retry, again = await react(bob, chat, 1, "+", client_id="r"), await react(bob, chat, 1, "+")
        assert counts(retry.state) == counts(again.state) == counts(first.state) == [("+", 1)]
        await unreact(bob, chat, 1, "never given")
        await asyncio.sleep(1.2)
        assert (await page(ann, chat)).head == 2
        assert counts((await shown(ann, chat, 1)).state) == [("+", 1)]


@each_way
async def test_pages_and_lists_tell_which_are_ones_own(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "hi")
        await react(bob, chat, 1, "+")
        for wire, mine in ((bob, True), (ann, False)):
            for message in ((await shown(wire, chat, 1)), (await listed(wire, chat)).last):
                assert [each.mine for each in message.state.reactions] == [mine]
        its_change = await shown(bob, chat, 2)
        assert its_change.change.reacted.added[0].user == name("bob")


@each_way
async def test_reactions_come_in_the_order_of_their_coming(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "hi")
        for reaction in ("z", "a", "m"):
            await react(bob, chat, 1, reaction)
        await react(ann, chat, 1, "a")
        await until_counted(ann, chat, 1, [("z", 1), ("a", 2), ("m", 1)])
        await unreact(bob, chat, 1, "z")
        await until_counted(ann, chat, 1, [("a", 2), ("m", 1)])
        await react(ann, chat, 1, "z")
        message = await until_counted(ann, chat, 1, [("a", 2), ("m", 1), ("z", 1)])
        assert [each.mine for each in message.state.reactions] == [True, False, True]
        found = await reactors(ann, chat, 1)
        assert [(each.user, each.reaction) for each in found.reactors] == [
            (name("bob"), "a"),
            (name("bob"), "m"),
            (name("ann"), "a"),
            (name("ann"), "z"),
        ]
        times = [each.time_ms for each in found.reactors]
        assert times == sorted(times)
        assert times[0] > 1_600_000_000_000


@each_way
async def test_reactors_come_by_pages_of_all_or_of_one_reaction(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        users = ["ann", "bob", "cid", "dee"]
        wires = await people.come(*users)
        (eve,) = await people.come("eve")
        group = await created(wires[0], [name(each) for each in users[1:]])
        seq = (await say(wires[0], group, "hi")).seq
        for wire in wires:
            await react(wire, group, seq, "+")
        await react(wires[1], group, seq, "-")
        first = await reactors(wires[0], group, seq, reaction="+", limit=3)
        assert [each.user for each in first.reactors] == [name(each) for each in users[:3]]
        assert first.more
        rest = await reactors(wires[0], group, seq, reaction="+", limit=3, after=first.next)
        assert ([each.user for each in rest.reactors], rest.more) == ([name("dee")], False)
        assert len((await reactors(wires[0], group, seq)).reactors) == 5
        asked = ReactorsRequest(conversation=group, seq=seq)
        assert await refusal(eve.request(reactors=asked)) == "FORBIDDEN"
        nothing = ReactorsRequest(conversation=group, seq=seq + 50)
        assert await refusal(eve.request(reactors=nothing)) == "FORBIDDEN"
        assert await refusal(wires[0].request(reactors=nothing)) == "NOT_FOUND"


@each_way
async def test_the_first_three_users_are_named_and_all_are_counted(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        users = ["ann", "bob", "cid", "dee"]
        wires = await people.come(*users)
        group = await created(wires[0], [name(each) for each in users[1:]])
        seq = (await say(wires[0], group, "hi")).seq
        for wire in wires:
            await react(wire, group, seq, "+")
        message = await until_counted(wires[0], group, seq, [("+", 4)])
        assert list(message.state.reactions[0].users) == [name(each) for each in users[:3]]
        await act(wires[1], leave=GroupRequest.Leave(conversation=group))
        await unreact(wires[2], group, seq, "+")
        message = await until_counted(wires[0], group, seq, [("+", 3)])
        assert name("bob") in message.state.reactions[0].users, "who left stays in the count"


@each_way
async def test_what_a_reaction_may_be(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "hi")
        for bad in ("", "x" * 65, "é" * 33, "a\nb", "\x00", "\x7f", "\ufe0f"):
            assert await refusal(react(ann, chat, 1, bad)) == "BAD_REQUEST", repr(bad)
        await react(ann, chat, 1, "x" * 64)
        await react(ann, chat, 1, "❤\ufe0f")
        await react(ann, chat, 1, "❤")
        await react(ann, chat, 1, "e\u0301")
        await react(ann, chat, 1, "\u00e9")
        await until_counted(ann, chat, 1, [("x" * 64, 1), ("❤", 1), ("\u00e9", 1)])
        await unreact(ann, chat, 1, "❤\ufe0f")
        await until_counted(ann, chat, 1, [("x" * 64, 1), ("\u00e9", 1)])


async def test_five_of_one_user_and_twenty_on_a_message(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "proto") as people:
        users = ["ann", "bob", "cid", "dee", "eli"]
        wires = await people.come(*users)
        group = await created(wires[0], [name(each) for each in users[1:]])
        seq = (await say(wires[0], group, "hi")).seq
        for user, wire in enumerate(wires[:4]):
            for number in range(5):
                await react(wire, group, seq, f"{user}.{number}")
        assert await refusal(react(wires[0], group, seq, "1.0")) == "BAD_REQUEST"
        assert await refusal(react(wires[4], group, seq, "one more")) == "BAD_REQUEST"
        assert await refusal(react(wires[4], group, seq, "0.0")) == ""
        await unreact(wires[1], group, seq, "1.1")
        assert await refusal(react(wires[4], group, seq, "instead")) == ""


async def test_forty_acts_of_one_user_on_one_message_an_hour(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "proto") as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        for text in ("one", "two"):
            await say(ann, chat, text)
        for _ in range(20):
            await react(ann, chat, 1, "+")
            await unreact(ann, chat, 1, "+")
        assert await refusal(react(ann, chat, 1, "+")) == "BAD_REQUEST"
        assert await refusal(react(ann, chat, 2, "+")) == ""
        assert await refusal(react(bob, chat, 1, "+")) == ""


@each_way
async def test_whoever_may_read_may_react_unless_blocked_or_muted_by_name(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        group = await created(ann, [name("bob")], channel=True)
        seq = (await say(ann, group, "news")).seq
        assert counts((await react(bob, group, seq, "1")).state) == [("1", 1)]
        await update(ann, group, channel=False, muted=True, slow_s=3600)
        assert await refusal(react(bob, group, seq, "2")) == ""
        await mute(ann, group, name("bob"))
        assert await refusal(react(bob, group, seq, "3")) == "FORBIDDEN"
        assert await refusal(unreact(bob, group, seq, "2")) == ""
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "hi")
        assert await refusal(react(bob, chat, 1, "1")) == ""
        await ann.request(block=BlockRequest(set=BlockRequest.Set(users=[name("bob")], blocked=True)))
        assert await refusal(react(bob, chat, 1, "2")) == "FORBIDDEN"
        assert await refusal(unreact(bob, chat, 1, "1")) == ""
        assert await refusal(react(ann, chat, 1, "1")) == ""


async def test_a_recall_takes_reactions_that_were_not_announced_yet(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "json") as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "hi")
        await react(bob, chat, 1, "1")
        assert (await react(bob, chat, 1, "2")).seq == 0
        recalled = await recall(ann, chat, 1)
        await asyncio.sleep(1.5)
        message = await shown(bob, chat, 1)
        assert (message.state.recalled_by, list(message.state.reactions)) == (name("ann"), [])
        assert (message.state.revision, (await page(bob, chat)).head) == (recalled.seq, recalled.seq)


async def test_reactions_gather_for_a_second_at_most(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "tcp") as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "hi")
        await react(bob, chat, 1, "0")
        start = time.monotonic()
        for number in range(1, 5):
            assert (await react(bob, chat, 1, str(number))).seq == 0
        told = await live(ann, chat, 3)
        assert time.monotonic() - start < 2
        assert [each.reaction for each in told.change.reacted.added] == ["1", "2", "3", "4"]
        assert (await live(bob, chat, 3)).state == told.state, "all devices get it"
        mine = await listed(ann, chat)
        assert (mine.head, mine.unread, mine.last.seq, mine.read_seq) == (3, 0, 1, 1)
