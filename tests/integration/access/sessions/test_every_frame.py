"""Every kind of frame, both ways, over all three ways into the node."""

from __future__ import annotations

import pytest

from tests.support.cluster.access_nodes import AccessCluster, eventually
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Refused, connect
from tidings_protocol.client_pb2 import (
    Ack,
    Bye,
    Content,
    GroupRequest,
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

pytestmark = pytest.mark.parametrize("way", WAYS)


async def test_a_hello_is_welcomed_with_the_terms_of_the_node(cluster: AccessCluster, way: Way) -> None:
    async with connect(cluster.nodes["access-0"].address, way) as wire:
        welcome = await wire.hello(cluster.token("ann"), kind=Hello.MOBILE)
    assert (welcome.user, welcome.node, welcome.epoch) == ("ann", "access-0", "epoch-1")
    assert (welcome.heartbeat_s, welcome.idle_heartbeat_s) == (30, 120)
    assert (welcome.limits.frame_bytes_max, welcome.limits.content_bytes_max, welcome.limits.sends_per_s) == (
        131_072,
        32_768,
        1000,
    )
    assert (welcome.backoff.base_ms, welcome.backoff.max_ms, welcome.backoff.factor) == (500, 20_000, 2.0)
    assert welcome.session
    assert welcome.time_ms


async def test_a_send_is_acknowledged_and_delivered(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann, cluster.session("bob", way) as bob:
        send = Send(client_id="c1", user="bob", content=Content(text="hällo", headers={"a": "b"}))
        sent = (await ann.request(send=send)).sent
        assert (sent.conversation, sent.seq, sent.number, sent.client_id) == ("d:ann|bob", 1, 1, "c1")
        (entry,) = (await bob.push("deliver")).deliver.entries
        assert entry.number == 1
        assert entry.message.message_id == sent.message_id
        assert (entry.message.sender, entry.message.content.text) == ("ann", "hällo")
        assert entry.message.content.headers == {"a": "b"}
        assert not ann.pushed("deliver")


async def test_a_repeated_send_is_a_duplicate(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        send = Send(client_id="c1", user="bob", content=Content(data=b"\x00\x01"))
        first, second = (await ann.request(send=send)).sent, (await ann.request(send=send)).sent
        assert (first.duplicate, second.duplicate) == (False, True)
        assert first.message_id == second.message_id


async def test_the_other_devices_of_the_sender_get_the_message(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as phone, cluster.session("ann", way, device="laptop") as laptop:
        await phone.request(send=Send(client_id="c1", user="bob", content=Content(text="x")))
        assert (await laptop.push("deliver")).deliver.entries[0].number == 1
        assert not phone.pushed("deliver")


async def test_a_ping_shows_the_heads(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        await ann.request(send=Send(client_id="c1", user="bob", content=Content(text="x")))
        pong = (await ann.request(ping=Ping())).pong
        assert pong.inbox_head == 1
        assert pong.time_ms


async def test_requests_for_logic_come_back_with_their_ids(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        assert (await ann.request(sync=Sync())).WhichOneof("body") == "page"
        assert (await ann.request(history=History(conversation="d:ann|bob"))).WhichOneof("body") == "page"
        assert (await ann.request(read=Read(conversation="d:ann|bob", seq=1))).WhichOneof("body") == "ok"
        assert (await ann.request(conversations=ListConversations())).WhichOneof("body") == "conversation_page"
        create = GroupRequest(create=GroupRequest.Create(name="g"))
        assert (await ann.request(group=create)).group_info.conversation == "g:1"
        with pytest.raises(Refused) as refused:
            await ann.request(group=GroupRequest(info=GroupRequest.Info(conversation="g:2")))
        assert refused.value.code == "NOT_FOUND"
    ops = [item.op for item in cluster.logic.handled]
    assert len(set(ops)) == len(ops) == 6


async def test_a_signal_reaches_the_other_side_and_has_no_reply(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann, cluster.session("bob", way) as bob:
        await ann.post(signal=Signal(user="bob", name="typing", data=b"x"))
        signal = (await bob.push("signal")).signal
        assert (signal.conversation, signal.name, signal.data, getattr(signal, "from")) == (
            "d:ann|bob",
            "typing",
            b"x",
            "ann",
        )
        await ann.request(ping=Ping())
        assert [frame.WhichOneof("body") for frame in ann.received] == ["welcome", "pong"]


async def test_acks_are_gathered_and_only_the_last_counts(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        for number in (1, 2, 3):
            await ann.post(ack=Ack(number=number))
        await ann.request(ping=Ping())
    await eventually(lambda: cluster.logic.acks)
    assert [(item.user, item.device, item.number) for item in cluster.logic.acks] == [("ann", "phone", 3)]


async def test_presence_is_answered_and_its_changes_are_pushed(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        asked = PresenceRequest(users=["bob"], watch=True)
        (bob,) = (await ann.request(presence=asked)).presence_list.users
        assert (bob.user, bob.online) == ("bob", False)
        async with cluster.session("bob", way):
            (bob,) = (await ann.push("presence_list")).presence_list.users
            assert bob.online
        (bob,) = (await ann.push("presence_list")).presence_list.users
        assert not bob.online


async def test_a_bye_ends_the_session_without_a_goodbye(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        await ann.post(bye=Bye())
        closed = await ann.end()
        assert closed.goodbye is None
        assert closed.code == (0 if way == "tcp" else 1000)
    await eventually(lambda: cluster.logic.closed)
    assert [item.user for item in cluster.logic.closed] == ["ann"]


async def test_frames_behind_the_hello_are_answered_after_the_welcome_in_their_order(
    cluster: AccessCluster, way: Way
) -> None:
    async with connect(cluster.nodes["access-0"].address, way) as wire:
        await wire.post(hello=Hello(token=cluster.token("ann"), device="d"))
        posted = [
            await wire.post(send=Send(client_id=str(n), user="bob", content=Content(text=str(n)))) for n in range(20)
        ]
        seqs = [(await wire.reply(frame)).sent.seq for frame in posted]
        assert seqs == list(range(1, 21))
        assert wire.received[0].WhichOneof("body") == "welcome"
