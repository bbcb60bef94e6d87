"""Two nodes, two devices, away and back: what a person with a phone and a laptop sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.e2e.cluster import Cluster
from tests.support.device.wire import Wire
from tidings_protocol.client_pb2 import (
    Ack,
    Content,
    Hello,
    History,
    ListConversations,
    Ping,
    PresenceRequest,
    Read,
    Send,
    Signal,
    Sync,
)

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]


async def text_sent(wire: Wire, client_id: str, text: str, **to: str) -> int:
    return (await wire.request(send=Send(client_id=client_id, content=Content(text=text), **to))).sent.seq


async def texts(wire: Wire, count: int) -> list[str]:
    """The next messages that come live."""
    found: list[str] = []
    while len(found) < count:
        entries = (await wire.push("deliver")).deliver.entries
        found += [entry.message.content.text for entry in entries]
    return found


async def users_of_both_nodes(cluster: Cluster, name: Name) -> tuple[str, str]:
    """Two users whose home nodes differ."""
    ann = name("ann")
    home = await cluster.home(ann)
    for number in range(200):
        if await cluster.home(other := name(f"bob{number}")) != home:
            return ann, other
    raise AssertionError("all users live on one node")


async def test_a_message_goes_from_one_node_to_the_other_and_back(cluster: Cluster, name: Name) -> None:
    ann_name, bob_name = await users_of_both_nodes(cluster, name)
    async with cluster.session(ann_name) as (ann, here), cluster.session(bob_name, "tcp") as (bob, there):
        assert here.node != there.node
        await text_sent(ann, "1", "over", user=bob_name)
        assert await texts(bob, 1) == ["over"]
        await text_sent(bob, "1", "and back", user=ann_name)
        assert await texts(ann, 1) == ["and back"]


async def test_every_device_gets_each_message_but_not_the_connection_that_sent_it(cluster: Cluster, name: Name) -> None:
    async with (
        cluster.session(name("ann"), "json", device="phone") as (phone, _),
        cluster.session(name("ann"), "tcp", device="laptop") as (laptop, _),
        cluster.session(name("bob"), "proto", device="phone") as (bob, _),
        cluster.session(name("bob"), "json", device="tablet") as (bobs_tablet, _),
    ):
        await text_sent(phone, "1", "from the phone", user=name("bob"))
        for wire in (laptop, bob, bobs_tablet):
            assert await texts(wire, 1) == ["from the phone"]
        await text_sent(bob, "1", "got it", user=name("ann"))
        for wire in (phone, laptop, bobs_tablet):
            assert await texts(wire, 1) == ["got it"]
        await phone.request(ping=Ping())
        assert phone.pushed("deliver") == []


async def test_a_visitor_gets_what_its_owner_gets(cluster: Cluster, name: Name) -> None:
    """A device that could not reach its own node is served by another."""
    async with (
        cluster.session(name("ann"), device="at-home") as (at_home, home),
        cluster.session(name("ann"), device="elsewhere", visiting=True) as (visitor, away),
        cluster.session(name("bob")) as (bob, _),
    ):
        assert home.node != away.node
        await text_sent(bob, "1", "hello both", user=name("ann"))
        assert await texts(at_home, 1) == ["hello both"]
        assert await texts(visitor, 1) == ["hello both"]
        await text_sent(visitor, "1", "from afar", user=name("bob"))
        assert await texts(bob, 1) == ["from afar"]
        assert await texts(at_home, 1) == ["from afar"]


async def test_who_was_away_gets_all_with_one_cursor_and_live_after_it(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _):
        async with cluster.session(name("bob")) as (bob, first):
            await text_sent(ann, "1", "seen", user=name("bob"))
            assert await texts(bob, 1) == ["seen"]
            await bob.post(ack=Ack(number=1))
        for number in (2, 3, 4):
            await text_sent(ann, str(number), f"missed {number}", user=name("bob"))
        async with cluster.session(name("bob"), cursor=1, epoch=first.epoch) as (bob, welcome):
            assert (welcome.inbox_head, welcome.reset) == (4, False)
            await text_sent(ann, "5", "live again", user=name("bob"))
            assert await texts(bob, 1) == ["live again"]
            page = (await bob.request(sync=Sync(after=1))).page
            assert [entry.number for entry in page.entries] == [2, 3, 4, 5]


async def test_a_cursor_of_other_data_is_reset(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann"), cursor=7, epoch="some other cluster's") as (_, welcome):
        assert welcome.reset
    async with cluster.session(name("ann"), cursor=7, epoch=welcome.epoch) as (_, welcome):
        assert welcome.reset  # beyond the head
    async with cluster.session(name("ann")) as (_, welcome):
        assert not welcome.reset


async def test_reading_on_one_device_shows_on_the_other_and_to_the_sender(cluster: Cluster, name: Name) -> None:
    async with (
        cluster.session(name("ann")) as (ann, _),
        cluster.session(name("bob"), device="phone") as (phone, _),
        cluster.session(name("bob"), device="laptop") as (laptop, _),
    ):
        for number in (1, 2):
            await text_sent(ann, str(number), "read me", user=name("bob"))
        await texts(phone, 2)
        chat = (await ann.request(conversations=ListConversations())).conversation_page.conversations[0].conversation
        await phone.request(read=Read(conversation=chat, seq=2))
        for wire in (ann, laptop):
            receipt = (await wire.push("receipt")).receipt
            while receipt.read_seq < 2:
                receipt = (await wire.push("receipt")).receipt
            assert (receipt.conversation, receipt.user) == (chat, name("bob"))
        await phone.request(read=Read(conversation=chat, seq=1))  # never goes back
        mine = (await laptop.request(conversations=ListConversations())).conversation_page.conversations[0]
        assert mine.read_seq == 2


async def test_a_person_is_online_until_the_last_device_leaves(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _):
        await ann.request(presence=PresenceRequest(users=[name("bob")], watch=True))
        async with cluster.session(name("bob"), device="laptop"):
            async with cluster.session(name("bob"), device="phone"):
                assert (await ann.push("presence_list")).presence_list.users[0].online
            listed = (await ann.request(presence=PresenceRequest(users=[name("bob")], watch=True))).presence_list
            assert listed.users[0].online
        offline = (await ann.push("presence_list")).presence_list.users[0]
        assert not offline.online
        await ann.request(presence=PresenceRequest(users=[name("bob")], watch=False))
        async with cluster.session(name("bob"), "tcp"):
            await ann.request(ping=Ping())
        assert ann.pushed("presence_list") == []


async def test_a_signal_reaches_all_devices_of_the_other_and_leaves_nothing(cluster: Cluster, name: Name) -> None:
    async with (
        cluster.session(name("ann")) as (ann, _),
        cluster.session(name("bob"), device="phone") as (phone, _),
        cluster.session(name("bob"), device="laptop", visiting=True) as (laptop, _),
    ):
        await ann.post(signal=Signal(user=name("bob"), name="typing"))
        for wire in (phone, laptop):
            assert (await wire.push("signal")).signal.name == "typing"
        assert not (await phone.request(sync=Sync(after=0))).page.entries


async def test_what_is_not_acknowledged_in_ten_seconds_is_asked_for(cluster: Cluster, name: Name) -> None:
    async with cluster.session(name("ann")) as (ann, _), cluster.session(name("bob")) as (bob, _):
        await text_sent(ann, "1", "are you there?", user=name("bob"))
        await texts(bob, 1)
        lagging = (await bob.push("lagging", timeout_s=14)).lagging
        assert (lagging.inbox_head, lagging.paused) == (1, False)


async def test_writing_to_oneself_reaches_the_other_devices(cluster: Cluster, name: Name) -> None:
    async with (
        cluster.session(name("ann"), device="phone") as (phone, _),
        cluster.session(name("ann"), device="laptop") as (laptop, _),
    ):
        await text_sent(phone, "1", "remember the milk", user=name("ann"))
        assert await texts(laptop, 1) == ["remember the milk"]
        chat = f"d:{name('ann')}|{name('ann')}"
        page = (await laptop.request(history=History(conversation=chat))).page
        assert len(page.entries) == 1


async def test_pipelined_sends_of_one_connection_keep_their_order(cluster: Cluster, name: Name) -> None:
    ann_name, bob_name = await users_of_both_nodes(cluster, name)
    async with cluster.session(ann_name, "proto") as (ann, _), cluster.session(bob_name, kind=Hello.BOT) as (bob, _):
        frames = [
            await ann.post(send=Send(client_id=str(number), user=bob_name, content=Content(text=str(number))))
            for number in range(500)
        ]
        seqs = [(await ann.reply(frame)).sent.seq for frame in frames]
        assert seqs == list(range(1, 501))
        async with asyncio.timeout(20):
            assert await texts(bob, 500) == [str(number) for number in range(500)]
