"""Reactions over every wire: told at once, told together, read, taken back, gone with their message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import (
    Change,
    Content,
    GroupRequest,
    History,
    Message,
    ReactorPage,
    ReactorsRequest,
    Send,
    Sent,
    State,
)

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
HEART, THUMB = "❤\ufe0f", "👍"


async def changed(wire: Wire, client_id: str, conversation: str, seq: int, **act: object) -> Sent:
    change = Change(client_id=client_id, conversation=conversation, seq=seq, **act)  # type: ignore[arg-type]
    return (await wire.request(change=change)).sent


async def refusal(asked: Awaitable[object]) -> str:
    """The code with which this is refused; empty: it is not."""
    try:
        await asked
    except Refused as refused:
        return refused.code
    return ""


async def next_change(wire: Wire) -> Message:
    """The next CHANGE that comes live."""
    while True:
        for entry in (await wire.push("deliver")).deliver.entries:
            if entry.message.kind == Message.CHANGE:
                return entry.message


async def reactors(wire: Wire, conversation: str, seq: int, **asked: object) -> ReactorPage:
    request = ReactorsRequest(conversation=conversation, seq=seq, **asked)  # type: ignore[arg-type]
    return (await wire.request(reactors=request)).reactor_page


def shown(state: State) -> list[tuple[str, int, bool]]:
    return [(each.reaction, each.count, each.mine) for each in state.reactions]


@pytest.mark.parametrize(("mine", "theirs"), [("json", "tcp"), ("proto", "json")])
async def test_reactions_are_told_at_once_then_together_and_read_by_everybody(
    cluster: Cluster, name: Name, mine: str, theirs: str
) -> None:
    async with (
        cluster.session(name("ann"), mine, device="phone") as (ann, _),  # type: ignore[arg-type]
        cluster.session(name("bob"), theirs, device="phone") as (bob, _),  # type: ignore[arg-type]
        cluster.session(name("bob"), "tcp", device="laptop") as (laptop, _),
    ):
        post = Send(client_id="1", user=name("bob"), content=Content(text="look"))
        chat = (await ann.request(send=post)).sent.conversation
        first = await changed(bob, "1", chat, 1, react=HEART)
        assert (first.seq, first.number, first.client_id) == (2, 2, "1")
        assert shown(first.state) == [("❤", 1, False)]
        for wire in (ann, laptop):
            told = await next_change(wire)
            assert (told.seq, told.sender, told.client_id, told.state) == (2, name("bob"), "", first.state)
            assert [(each.user, each.reaction) for each in told.change.reacted.added] == [(name("bob"), "❤")]

        gathered = [await changed(ann, "2", chat, 1, react=THUMB), await changed(bob, "2", chat, 1, unreact=HEART)]
        assert [each.seq for each in gathered] == [0, 0]
        for wire in (ann, bob, laptop):
            told = await next_change(wire)
            assert (told.seq, told.sender, shown(told.state)) == (3, name("bob"), [("👍", 1, False)])
        retry = await changed(bob, "2", chat, 1, unreact=HEART)
        assert (retry.seq, retry.duplicate) == (3, True)
        assert (await changed(bob, "3", chat, 1, unreact=HEART)).seq == 0, "nothing is there to be taken back"

        page = (await ann.request(history=History(conversation=chat, after=0))).page
        assert [entry.message.seq for entry in page.entries] == [1]
        assert shown(page.entries[0].message.state) == [("👍", 1, True)]
        page = (await bob.request(history=History(conversation=chat, after=0, changes=True))).page
        assert [entry.message.seq for entry in page.entries] == [1, 2, 3]
        assert shown(page.entries[0].message.state) == [("👍", 1, False)]


async def test_who_reacted_is_read_by_pages_and_gone_with_the_message(cluster: Cluster, name: Name) -> None:
    async with (
        cluster.session(name("ann")) as (ann, _),
        cluster.session(name("bob"), "tcp") as (bob, _),
        cluster.session(name("eve"), "json") as (eve, _),
    ):
        create = GroupRequest.Create(name="news", members=[name("bob")], channel=True, client_id="c")
        group = (await ann.request(group=GroupRequest(create=create))).group_info.conversation
        seq = (await ann.request(send=Send(client_id="1", conversation=group, content=Content(text="news")))).sent.seq
        for number, reaction in enumerate(("a", "b", "c", "d", "e")):
            assert await refusal(changed(bob, f"{number}", group, seq, react=reaction)) == "", "channels, too"
        assert await refusal(changed(bob, "6", group, seq, react="f")) == "BAD_REQUEST"
        assert await refusal(changed(eve, "1", group, seq, react="a")) == "FORBIDDEN"
        assert await refusal(changed(bob, "7", group, seq - 1, react="a")) == "NOT_FOUND"
        assert await refusal(changed(bob, "8", group, seq, react="a\nb")) == "BAD_REQUEST"
        await changed(ann, "2", group, seq, react="b")

        first = await reactors(bob, group, seq, limit=4)
        assert [each.reaction for each in first.reactors] == ["a", "b", "c", "d"]
        assert first.more
        rest = await reactors(bob, group, seq, after=first.next)
        assert [(each.user, each.reaction) for each in rest.reactors] == [(name("bob"), "e"), (name("ann"), "b")]
        assert not rest.more
        assert [each.user for each in (await reactors(ann, group, seq, reaction="b")).reactors] == [
            name("bob"),
            name("ann"),
        ]
        assert await refusal(reactors(eve, group, seq)) == "FORBIDDEN"

        await changed(ann, "3", group, seq, recall=Change.Recall())
        assert not (await reactors(ann, group, seq)).reactors
        assert await refusal(changed(bob, "9", group, seq, unreact="a")) == "FORBIDDEN"
