"""Messages that are gone for everybody some time after they were stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.talk import (
    People,
    change,
    edit,
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
from tests.support.device.wire import Wire
from tidings_protocol.client_pb2 import Content, Message
from tidings_protocol.ids import direct

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)
EXPIRY = "~expiry"
YEAR_S = 366 * 86_400


async def until_gone(wire: Wire, conversation: str, message: Message) -> None:
    """Waits for its time, and 2 s more at most."""
    await asyncio.sleep(max(0.0, message.expires_ms / 1000 - time.time()))

    async def is_gone() -> bool:
        return (await shown(wire, conversation, message.seq)).state.recalled_by == EXPIRY

    await until(is_gone, 2.0)


@each_way
async def test_from_its_time_on_a_message_is_shown_as_recalled_by_expiry(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with People(cluster, name, way) as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "stays")
        sent = await say(ann, chat, "the secret", expire_after_s=2, mentions=[name("bob")])
        message = await live(bob, chat, 2)
        assert message.expires_ms == sent.time_ms + 2000
        assert message.content.expire_after_s == 2
        assert (await shown(bob, chat, 2)).expires_ms == message.expires_ms
        assert (await shown(bob, chat, 1)).expires_ms == 0
        await change(bob, chat, 2, pin=True)
        await change(bob, chat, 2, react="+")
        edited = await edit(ann, chat, 2, "the secret still", mentions=[name("bob")])
        assert (await shown(bob, chat, 2)).expires_ms == message.expires_ms, "an edit does not renew it"
        mine = await listed(bob, chat)
        assert (mine.last.seq, mine.unread, mine.unread_mentions, list(mine.pinned)) == (2, 2, 1, [2])
        await until_gone(bob, chat, message)
        for found in ((await shown(bob, chat, 2)), next(e.message for e in await synced(bob) if e.message.seq == 2)):
            assert (found.state.recalled_by, found.HasField("content")) == (EXPIRY, False)
            assert (list(found.state.reactions), found.state.pinned) == ([], False)
            assert (found.ordinal, found.sender) == (2, name("ann"))
        for frame in (await page(bob, chat, changes=True), await page(bob, chat, changes=True, after=2)):
            assert b"the secret" not in frame.SerializeToString()
        mine = await listed(bob, chat)
        assert (mine.last.seq, mine.unread, mine.unread_mentions) == (1, 1, 0)
        assert mine.head == edited.seq, "without a CHANGE"
        assert all(each.seq <= edited.seq for each in await still_waiting(bob))

        async def is_unpinned() -> bool:
            return list((await listed(bob, chat)).pinned) == []

        await until(is_unpinned, 2.5)
        for asked in (edit(ann, chat, 2, "again"), change(bob, chat, 2, pin=True), change(bob, chat, 2, react="+")):
            assert await refusal(asked) == "FORBIDDEN"
        assert await refusal(recall(ann, chat, 2)) == "", "as a second recall"
        assert (await say(ann, chat, "next", reply_to=2)).seq == mine.head + 1


@each_way
async def test_a_year_is_the_most(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        assert await refusal(say(ann, chat, "long", expire_after_s=YEAR_S + 1)) == "BAD_REQUEST"
        sent = await say(ann, chat, "long", expire_after_s=365 * 86_400)
        assert (await shown(ann, chat, 1)).expires_ms == sent.time_ms + 365 * 86_400_000


@each_way
async def test_an_edit_neither_brings_nor_takes_an_expiry(cluster: Cluster, name: Name, way: Way) -> None:
    async with People(cluster, name, way) as people:
        (ann,) = await people.come("ann")
        chat = direct(name("ann"), name("bob"))
        await say(ann, chat, "stays")
        await change(ann, chat, 1, edit=Content(text="stays, too", expire_after_s=1))
        message = await shown(ann, chat, 1)
        assert (message.expires_ms, message.content.expire_after_s) == (0, 0)


async def test_a_stream_expires_from_its_start(cluster: Cluster, name: Name) -> None:
    async with People(cluster, name, "json") as people:
        ann, bob = await people.come("ann", "bob")
        chat = direct(name("ann"), name("bob"))
        sent = await say(ann, chat, "Once", streaming=True, expire_after_s=1)
        message = await live(bob, chat, 1)
        assert message.expires_ms == sent.time_ms + 1000
        await until_gone(bob, chat, message)
        assert not (await shown(bob, chat, 1)).state.streaming
        await asyncio.sleep(2.2)
        found = await page(bob, chat, changes=True)
        assert (found.head, found.entries[0].message.HasField("content")) == (1, False)
