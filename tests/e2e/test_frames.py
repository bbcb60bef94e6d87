"""Every frame of the protocol on each of the three ways, against the running cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Refused, connect
from tidings_protocol.client_pb2 import (
    Ack,
    Bye,
    Content,
    Conversation,
    GroupRequest,
    Hello,
    History,
    ListConversations,
    Member,
    Message,
    Ping,
    PresenceRequest,
    Read,
    Send,
    Signal,
    Sync,
)

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
each_way = pytest.mark.parametrize("way", WAYS)


def direct(a: str, b: str) -> str:
    low, high = sorted((a, b), key=str.encode)
    return f"d:{low}|{high}"


@each_way
async def test_a_hello_is_welcomed_with_the_clusters_terms(cluster: Cluster, name: Name, way: Way) -> None:
    async with cluster.session(name("ann"), way, kind=Hello.MOBILE, client="wire/1") as (_, welcome):
        assert welcome.session
        assert welcome.user == name("ann")
        assert welcome.epoch
        assert not welcome.reset
        assert welcome.time_ms > 1_600_000_000_000
        assert (welcome.heartbeat_s, welcome.idle_heartbeat_s) == (30, 120)
        assert (welcome.limits.frame_bytes_max, welcome.limits.content_bytes_max) == (131_072, 32_768)
        assert welcome.limits.sends_per_s == 1000
        assert (welcome.backoff.base_ms, welcome.backoff.max_ms, welcome.backoff.factor) == (500, 20_000, 2)


@each_way
async def test_a_ping_is_answered_with_the_heads(cluster: Cluster, name: Name, way: Way) -> None:
    async with cluster.session(name("ann"), way) as (ann, welcome):
        await ann.request(send=Send(client_id="1", user=name("ann"), content=Content(text="note to self")))
        pong = (await ann.request(ping=Ping(idle=True))).pong
        assert pong.inbox_head == welcome.inbox_head + 1
        assert pong.time_ms >= welcome.time_ms


@each_way
async def test_a_message_is_sent_delivered_acknowledged_and_read(cluster: Cluster, name: Name, way: Way) -> None:
    ann_name, bob_name = name("ann"), name("bob")
    async with cluster.session(ann_name, way) as (ann, _), cluster.session(bob_name, way) as (bob, _):
        content = Content(text="hello, wörld 🌍", headers={"lang": "en"})
        sent = (await ann.request(send=Send(client_id="c-1", user=bob_name, content=content))).sent
        assert sent.client_id == "c-1"
        assert sent.conversation == direct(ann_name, bob_name)
        assert (sent.seq, sent.duplicate) == (1, False)
        assert sent.message_id
        assert sent.time_ms

        (entry,) = (await bob.push("deliver")).deliver.entries
        message = entry.message
        assert entry.number == 1
        assert (message.message_id, message.conversation, message.seq) == (sent.message_id, sent.conversation, 1)
        assert (message.sender, message.client_id, message.kind) == (ann_name, "c-1", Message.NORMAL)
        assert message.time_ms == sent.time_ms
        assert message.content == content

        await bob.post(ack=Ack(number=entry.number))
        delivered = (await ann.push("receipt")).receipt
        assert (delivered.user, delivered.delivered_seq, delivered.read_seq) == (bob_name, 1, 0)
        assert (await bob.request(read=Read(conversation=sent.conversation, seq=1))).WhichOneof("body") == "ok"
        read = (await ann.push("receipt")).receipt
        assert (read.conversation, read.user, read.read_seq) == (sent.conversation, bob_name, 1)


@each_way
async def test_bytes_with_a_mime_type_and_a_reply_come_as_they_were_given(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with cluster.session(name("ann"), way) as (ann, _), cluster.session(name("bob"), way) as (bob, _):
        await ann.request(send=Send(client_id="1", user=name("bob"), content=Content(data=bytes(range(256)))))
        content = Content(data=b"\x89PNG", mime="image/png", reply_to=1)
        await ann.request(send=Send(client_id="2", user=name("bob"), content=content))
        entries = [entry for _ in range(2) for entry in (await bob.push("deliver")).deliver.entries][:2]
        assert entries[0].message.content.data == bytes(range(256))
        assert entries[1].message.content == content


@each_way
async def test_a_retry_with_the_same_client_id_is_the_same_message(cluster: Cluster, name: Name, way: Way) -> None:
    async with cluster.session(name("ann"), way) as (ann, _):
        send = Send(client_id="once", user=name("bob"), content=Content(text="first"))
        first = (await ann.request(send=send)).sent
        send.content.text = "typed again"
        again = (await ann.request(send=send)).sent
        assert (again.message_id, again.seq, again.time_ms) == (first.message_id, first.seq, first.time_ms)
        assert (first.duplicate, again.duplicate) == (False, True)
        page = (await ann.request(history=History(conversation=first.conversation))).page
        assert [entry.message.content.text for entry in page.entries] == ["first"]


@each_way
async def test_what_was_missed_comes_by_sync_in_pages(cluster: Cluster, name: Name, way: Way) -> None:
    async with cluster.session(name("ann"), way) as (ann, _):
        for number in range(5):
            await ann.request(send=Send(client_id=str(number), user=name("bob"), content=Content(text=f"m{number}")))
    async with cluster.session(name("bob"), way) as (bob, welcome):
        assert welcome.inbox_head == 5
        page = (await bob.request(sync=Sync(after=0, limit=2))).page
        assert [entry.number for entry in page.entries] == [1, 2]
        assert (page.next, page.head, page.more) == (2, 5, True)
        page = (await bob.request(sync=Sync(after=page.next))).page
        assert [entry.message.content.text for entry in page.entries] == ["m2", "m3", "m4"]
        assert (page.next, page.more) == (5, False)


@each_way
async def test_history_is_read_in_both_directions(cluster: Cluster, name: Name, way: Way) -> None:
    async with cluster.session(name("ann"), way) as (ann, _):
        chat = direct(name("ann"), name("bob"))
        empty = (await ann.request(history=History(conversation=chat))).page
        assert (len(empty.entries), empty.more) == (0, False)
        for number in range(1, 8):
            await ann.request(send=Send(client_id=str(number), conversation=chat, content=Content(text=str(number))))

        async def seqs(**fields: Any) -> tuple[list[int], int, bool]:
            page = (await ann.request(history=History(conversation=chat, **fields))).page
            return [entry.message.seq for entry in page.entries], page.next, page.more

        assert (await seqs(limit=3))[0] == [5, 6, 7]
        older, following, more = await seqs(before=5, limit=3)
        assert (older, more) == ([2, 3, 4], True)
        assert (await seqs(before=following, limit=3))[0] == [1]
        first, following, more = await seqs(after=0, limit=4)
        assert (first, more) == ([1, 2, 3, 4], True)
        assert (await seqs(after=following, limit=4))[0] == [5, 6, 7]
        with pytest.raises(Refused) as refused:
            await seqs(before=5, after=2)
        assert refused.value.code == "BAD_REQUEST"


@each_way
async def test_conversations_are_listed_with_their_last_message_and_cursors(
    cluster: Cluster, name: Name, way: Way
) -> None:
    async with cluster.session(name("ann"), way) as (ann, _), cluster.session(name("bob"), way) as (bob, _):
        for number, peer in enumerate(("bob", "cid", "bob")):
            await ann.request(send=Send(client_id=str(number), user=name(peer), content=Content(text=f"m{number}")))
        chat = direct(name("ann"), name("bob"))
        await bob.request(read=Read(conversation=chat, seq=1))
        page = (await ann.request(conversations=ListConversations(limit=1))).conversation_page
        (newest,) = page.conversations
        assert (newest.conversation, newest.name, newest.kind) == (chat, name("bob"), Conversation.DIRECT)
        assert (newest.head, newest.read_seq, newest.last.content.text) == (2, 2, "m2")
        assert newest.peer_read_seq == 1
        assert page.more
        page = (await ann.request(conversations=ListConversations(after=page.next))).conversation_page
        older = [entry for entry in page.conversations if entry.kind != Conversation.BROADCAST]
        assert [entry.name for entry in older] == [name("cid")]
        theirs = (await bob.request(conversations=ListConversations())).conversation_page.conversations
        unread = next(entry for entry in theirs if entry.conversation == chat)
        assert (unread.head, unread.read_seq) == (2, 1)


@each_way
async def test_a_group_lives_through_all_its_acts(cluster: Cluster, name: Name, way: Way) -> None:
    ann_name, bob_name, cid_name = name("ann"), name("bob"), name("cid")
    async with (
        cluster.session(ann_name, way) as (ann, _),
        cluster.session(bob_name, way) as (bob, _),
        cluster.session(cid_name, way) as (cid, _),
    ):
        create = GroupRequest.Create(name="tea", members=[bob_name], open=True)
        info = (await ann.request(group=GroupRequest(create=create))).group_info
        group = info.conversation
        assert group.startswith("g:")
        assert (info.name, info.member_count, info.role) == ("tea", 2, Member.OWNER)
        assert (info.open, info.channel, info.share_history, info.large_from) == (True, False, False, 0)
        system = (await bob.push("deliver")).deliver.entries[0].message
        assert (system.kind, system.seq, system.sender) == (Message.SYSTEM, 1, ann_name)
        assert system.content.mime == "application/tidings.membership+json"
        act = json.loads(system.content.data)
        assert (act["act"], act["by"]) == ("create", ann_name)

        outside = (await cid.request(group=GroupRequest(info=GroupRequest.Info(conversation=group)))).group_info
        assert outside.role == Member.ROLE_UNSPECIFIED
        joined = (await cid.request(group=GroupRequest(join=GroupRequest.Join(conversation=group)))).group_info
        assert (joined.role, joined.member_count) == (Member.MEMBER, 3)
        sent = (await cid.request(send=Send(client_id="1", conversation=group, content=Content(text="hi all")))).sent
        texts = []
        while "hi all" not in texts:
            texts += [entry.message.content.text for entry in (await bob.push("deliver")).deliver.entries]
        assert sent.seq >= 3

        rename = GroupRequest(rename=GroupRequest.Rename(conversation=group, name="coffee"))
        assert (await ann.request(group=rename)).group_info.name == "coffee"
        role = GroupRequest(set_role=GroupRequest.SetRole(conversation=group, user=bob_name, role=Member.ADMIN))
        assert (await ann.request(group=role)).WhichOneof("body") == "ok"
        members = GroupRequest(members=GroupRequest.Members(conversation=group))
        page = (await cid.request(group=members)).member_page
        roles = {member.user: member.role for member in page.members}
        assert roles == {ann_name: Member.OWNER, bob_name: Member.ADMIN, cid_name: Member.MEMBER}
        remove = GroupRequest(remove=GroupRequest.Remove(conversation=group, users=[cid_name]))
        assert (await bob.request(group=remove)).WhichOneof("body") == "ok"
        add = GroupRequest(add=GroupRequest.Add(conversation=group, users=[name("dee")]))
        assert (await bob.request(group=add)).WhichOneof("body") == "ok"
        leave = GroupRequest(leave=GroupRequest.Leave(conversation=group))
        assert (await bob.request(group=leave)).WhichOneof("body") == "ok"
        assert (await bob.request(group=leave)).WhichOneof("body") == "ok"
        with pytest.raises(Refused) as refused:
            await cid.request(send=Send(client_id="2", conversation=group, content=Content(text="still here?")))
        assert refused.value.code == "FORBIDDEN"


@each_way
async def test_a_signal_comes_and_is_not_stored(cluster: Cluster, name: Name, way: Way) -> None:
    async with cluster.session(name("ann"), way) as (ann, _), cluster.session(name("bob"), way) as (bob, _):
        await ann.post(signal=Signal(user=name("bob"), name="typing", data=b"\x01"))
        signal = (await bob.push("signal")).signal
        assert (signal.name, signal.data) == ("typing", b"\x01")
        assert getattr(signal, "from") == name("ann")
        assert signal.conversation == direct(name("ann"), name("bob"))
        chat = direct(name("ann"), name("bob"))
        assert not (await bob.request(history=History(conversation=chat))).page.entries


@each_way
async def test_presence_is_told_and_changes_are_pushed(cluster: Cluster, name: Name, way: Way) -> None:
    async with cluster.session(name("ann"), way) as (ann, _):
        watch = PresenceRequest(users=[name("bob"), name("cid")], watch=True)
        listed = (await ann.request(presence=watch)).presence_list
        assert [(entry.user, entry.online, entry.last_seen_ms) for entry in listed.users] == [
            (name("bob"), False, 0),
            (name("cid"), False, 0),
        ]
        async with cluster.session(name("bob"), way) as (bob, _):
            (online,) = (await ann.push("presence_list")).presence_list.users
            assert (online.user, online.online) == (name("bob"), True)
            await bob.post(bye=Bye())
            (offline,) = (await ann.push("presence_list")).presence_list.users
            assert (offline.user, offline.online) == (name("bob"), False)
            assert offline.last_seen_ms > 1_600_000_000_000


@each_way
async def test_a_bye_ends_the_session_without_a_goodbye(cluster: Cluster, name: Name, way: Way) -> None:
    async with cluster.session(name("ann"), way) as (ann, _):
        await ann.post(bye=Bye())
        closed = await ann.end()
        assert closed.goodbye is None
        assert closed.code == (0 if way == "tcp" else 1000)


@each_way
async def test_frames_may_be_pipelined_behind_the_hello(cluster: Cluster, name: Name, way: Way) -> None:
    nodes, home = cluster.access(), await cluster.home(name("ann"))
    async with connect(nodes[home], way) as ann:
        hello = await ann.post(hello=Hello(token=cluster.token(name("ann")), device="d"))
        sends = [
            await ann.post(send=Send(client_id=str(number), user=name("bob"), content=Content(text=str(number))))
            for number in range(20)
        ]
        assert (await ann.reply(hello)).welcome.user == name("ann")
        assert [(await ann.reply(send)).sent.seq for send in sends] == list(range(1, 21))


@each_way
async def test_whoever_arrives_at_the_wrong_node_is_sent_to_the_right_one(
    cluster: Cluster, name: Name, way: Way
) -> None:
    nodes, home = cluster.access(), await cluster.home(name("ann"))
    other = next(node for node in nodes if node != home)
    async with connect(nodes[other], way) as ann:
        await ann.post(hello=Hello(token=cluster.token(name("ann")), device="d"))
        closed = await ann.end()
        assert closed.goodbye is not None
        assert closed.goodbye.code == 4001
        assert closed.goodbye.reconnect
        assert closed.goodbye.address == (nodes[home].tcp if way == "tcp" else nodes[home].ws)
        assert closed.code in {0, 4001}


@each_way
async def test_the_same_device_logging_in_again_replaces_its_session(cluster: Cluster, name: Name, way: Way) -> None:
    async with (
        cluster.session(name("ann"), way, device="d") as (first, _),
        cluster.session(name("ann"), way, device="d") as (second, _),
    ):
        closed = await first.end()
        assert closed.goodbye is not None
        assert (closed.goodbye.code, closed.goodbye.reconnect) == (4501, False)
        assert (await second.request(ping=Ping())).pong.time_ms
