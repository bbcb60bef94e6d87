"""Several access nodes: placement, visitors, changes of the ring, drains, lost leases, replaced devices."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import InvalidStatus

from protos.tidings.internal.v1 import access_pb2, common_pb2, delivery_pb2, node_pb2
from services.access.cluster.registration import CannotStart
from services.common.ring import Ring
from services.common.rpc.memory import MemoryPeers
from tests.support.cluster.access_nodes import AccessCluster, eventually
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Closed, connect
from tidings_protocol.client_pb2 import Content, Hello, Message, Ping, PresenceRequest, Send

each_way = pytest.mark.parametrize("way", WAYS)


def send(to: str, text: str = "hi", client_id: str = "c1") -> Send:
    return Send(client_id=client_id, user=to, content=Content(text=text))


def code_of(closed: Closed) -> int:
    assert closed.goodbye is not None
    return closed.goodbye.code


def group_message(group: str, seq: int) -> delivery_pb2.Push:
    body = Message(conversation=group, seq=seq, sender="eve", content=Content(text="secret"))
    return delivery_pb2.Push(kind=delivery_pb2.Push.MESSAGE, body=body.SerializeToString(), conversation=group)


def membership(group: str, user: str, *, member: bool) -> delivery_pb2.Push:
    body = delivery_pb2.LargeMembership(conversation=group, member=member).SerializeToString()
    return delivery_pb2.Push(kind=delivery_pb2.Push.MEMBERSHIP, body=body, users=[user])


async def two(cluster: AccessCluster, placement: str = "ring", **settings: object) -> None:
    for name in ("access-0", "access-1"):
        await cluster.start(name, placement=placement, **settings)
    await eventually(lambda: len(cluster.cluster.ring("access").members) == 2)
    await eventually(lambda: all(len(node.state["ring"]) == 2 for node in cluster.nodes.values()))


# ---- placement


@each_way
async def test_under_ring_a_client_is_sent_to_the_owner_before_its_session_starts(
    empty: AccessCluster, way: Way
) -> None:
    await two(empty)
    user = empty.owned_by("access-1")
    async with connect(empty.nodes["access-0"].address, way) as wire:
        await wire.post(hello=Hello(token=empty.token(user), device="d"))
        closed = await wire.end()
    assert code_of(closed) == 4001
    assert closed.goodbye is not None
    owner = empty.nodes["access-1"].address
    assert closed.goodbye.address == (owner.tcp if way == "tcp" else owner.ws)
    assert closed.goodbye.reconnect
    assert not empty.logic.opened


async def test_who_cannot_reach_the_owner_is_served_as_a_visitor(empty: AccessCluster) -> None:
    await two(empty)
    user = empty.owned_by("access-1")
    async with empty.session(user, node="access-0", avoid=["access-1"]) as visitor:
        assert empty.nodes["access-1"].state["visitors_elsewhere"] == 1
        async with empty.session("ann", node=empty.cluster.ring("access").owner_of("ann") or "") as ann:
            await ann.request(send=send(user))
        assert (await visitor.push("deliver")).deliver.entries[0].number == 1
    await eventually(lambda: empty.nodes["access-1"].state["visitors_elsewhere"] == 0)


async def test_who_was_added_to_a_large_group_while_the_owner_was_gone_is_told_of_it(empty: AccessCluster) -> None:
    await two(empty)
    user = empty.owned_by("access-1")
    async with empty.session(user, node="access-0", avoid=["access-1"]) as visitor:
        # The news of it goes to nobody, as when the owner has died and its lease has not run out.
        empty.logic.large["g:big"] = {user}
        empty.logic.seqs["g:big"] = 7
        assert empty.nodes["access-0"].state["large_groups"] == 0
        await empty.nodes["access-1"].stop()
        assert (await visitor.push("pong")).pong.group_heads["g:big"] == 7
        assert empty.nodes["access-0"].state["large_groups"] == 1


@pytest.mark.parametrize("placement", ["ring", "any"])
async def test_news_of_large_groups_that_was_lost_is_made_good_by_time_both_ways(
    empty: AccessCluster, placement: str
) -> None:
    """Who was removed is shown nothing more, who was added is told, and nobody has to connect again for it."""
    await two(empty, placement, group_check_s=1)
    ann, bob = empty.owned_by("access-0", "ann"), empty.owned_by("access-0", "bob")
    empty.logic.large = {"g:old": {ann}, "g:new": set()}
    empty.logic.seqs.update({"g:old": 6, "g:new": 6})
    async with empty.session(ann, node="access-0") as removed, empty.session(bob, node="access-0") as added:
        # Nobody tells the nodes.
        empty.logic.large = {"g:old": set(), "g:new": {bob}}
        assert (await added.push("pong")).pong.group_heads["g:new"] == 6
        await eventually(lambda: empty.nodes["access-0"].state["large_groups"] == 1)
        for group in ("g:old", "g:new"):
            await empty.logic.push([group_message(group, 7)])
        assert (await added.push("deliver")).deliver.entries[0].message.conversation == "g:new"
        pong = (await removed.request(ping=Ping())).pong
        assert "g:old" not in pong.group_heads
        assert not removed.pushed("deliver")


async def test_news_of_a_large_group_reaches_a_visitors_node_although_its_forward_fails(empty: AccessCluster) -> None:
    """The owner's node cannot publish to the visitor's mailbox; who was removed is shown nothing that comes after."""
    await two(empty, "any")
    ann, bob = empty.owned_by("access-0", "ann"), empty.owned_by("access-0", "bob")
    empty.logic.large = {"g:old": {ann}, "g:new": set()}
    node = empty.cluster.node("access-1")
    assert node is not None
    assert node.mailbox is not None
    async with empty.session(ann, node="access-1") as removed, empty.session(bob, node="access-1") as added:
        empty.broker.refuse("tidings.deliver", node.mailbox)
        empty.logic.large = {"g:old": set(), "g:new": {bob}}
        for group, user, member in (("g:old", ann, False), ("g:new", bob, True), ("g:other", bob, True)):
            await empty.logic.push([membership(group, user, member=member)])
        await eventually(lambda: empty.nodes["access-1"].state["large_groups"] == 2)
        for group in ("g:old", "g:new"):
            await empty.logic.push([group_message(group, 7)])
        assert (await added.push("deliver")).deliver.entries[0].message.conversation == "g:new"
        await removed.request(ping=Ping())
        assert not removed.pushed("deliver")


@each_way
async def test_under_any_everybody_is_served_everywhere_and_gets_each_message_once(
    empty: AccessCluster, way: Way
) -> None:
    await two(empty, "any")
    ann, bob = empty.owned_by("access-0", "ann"), empty.owned_by("access-0", "bob")
    async with (
        empty.session(ann, way, node="access-1") as sender,
        empty.session(bob, way, node="access-1", device="a") as visitor,
        empty.session(bob, way, node="access-0", device="b") as home,
    ):
        for number in range(5):
            await sender.request(send=send(bob, client_id=str(number)))
        for wire in (visitor, home):
            got: list[int] = []
            while len(got) < 5:
                got += [entry.number for entry in (await wire.push("deliver")).deliver.entries]
            assert got == [1, 2, 3, 4, 5]
        await asyncio.sleep(0.1)
        assert not visitor.pushed("deliver")
        assert not home.pushed("deliver")


# ---- the ring changes


async def test_sessions_go_on_when_another_node_comes_and_under_ring_they_are_asked_to_move(
    empty: AccessCluster,
) -> None:
    await empty.start("access-0", moves_per_s=100)
    users = [f"user{n}" for n in range(12)]
    async with asyncio.TaskGroup() as group:
        leave = asyncio.Event()
        moved: dict[str, str] = {}

        async def stay(user: str) -> None:
            async with empty.session(user, "tcp") as wire:
                ending = asyncio.ensure_future(wire.end(20))
                waiting = asyncio.ensure_future(leave.wait())
                await asyncio.wait([ending, waiting], return_when=asyncio.FIRST_COMPLETED)
                if ending.done():
                    goodbye = ending.result().goodbye
                    assert goodbye is not None
                    assert goodbye.code == 4001
                    moved[user] = goodbye.address
                ending.cancel()
                waiting.cancel()

        for user in users:
            group.create_task(stay(user))
        await eventually(lambda: empty.nodes["access-0"].state["sessions"] == len(users))
        await empty.start("access-1")
        ring = empty.cluster.ring("access")
        expected = {user for user in users if ring.owner_of(user) == "access-1"}
        await eventually(lambda: set(moved) == expected)
        assert set(moved.values()) == {empty.nodes["access-1"].address.tcp}
        leave.set()


async def test_a_push_that_was_lost_in_the_change_is_repaired_by_a_nudge(empty: AccessCluster) -> None:
    await empty.start("access-0", placement="any")
    ring = Ring.build({"access-0": 1.0, "access-1": 1.0})
    ann = next(f"ann{n}" for n in range(1000) if ring.owner_of(f"ann{n}") == "access-1")
    async with empty.session(ann) as wire, empty.session("bob") as bob:
        empty.logic.pushing = False
        await bob.request(send=send(ann))
        await empty.start("access-1", placement="any")
        lagging = (await wire.push("lagging")).lagging
        assert (lagging.inbox_head, lagging.paused) == (1, False)


async def test_a_parcel_for_a_node_that_is_no_longer_the_owner_goes_on_to_the_new_one(empty: AccessCluster) -> None:
    await two(empty, "any")
    user = empty.owned_by("access-1")
    async with empty.session(user, node="access-1") as wire:
        stray = empty.cluster.node("access-0")
        assert stray is not None
        body = Message(conversation="d:a|b", seq=1, sender="a").SerializeToString()
        push = delivery_pb2.Push(kind=delivery_pb2.Push.MESSAGE, body=body, users=[user], numbers=[7])
        parcel = delivery_pb2.Parcel(node="access-0", boot_id=stray.boot_id, pushes=[push])
        await empty.publish_to(stray.mailbox, parcel)
        assert (await wire.push("deliver")).deliver.entries[0].number == 7


async def test_a_parcel_for_another_boot_is_routed_again_but_not_if_it_was_direct(empty: AccessCluster) -> None:
    await empty.start("access-0")
    node = empty.cluster.node("access-0")
    assert node is not None
    async with empty.session("ann") as ann:
        for number, direct in ((1, True), (2, False)):
            body = Message(conversation="d:a|b", seq=number, sender="a").SerializeToString()
            push = delivery_pb2.Push(kind=delivery_pb2.Push.MESSAGE, body=body, users=["ann"], numbers=[number])
            parcel = delivery_pb2.Parcel(node="access-0", boot_id="earlier", direct=direct, pushes=[push])
            await empty.publish_to(node.mailbox, parcel)
        assert (await ann.push("deliver")).deliver.entries[0].number == 2
        assert not ann.pushed("deliver")


# ---- one device, one session


async def test_the_newer_session_of_a_device_ends_the_older_one_here_at_once(empty: AccessCluster) -> None:
    await empty.start("access-0")
    async with empty.session("ann") as older, empty.session("ann") as newer:
        assert code_of(await older.end()) == 4501
        assert (await newer.request(ping=Ping())).pong.time_ms
    await eventually(lambda: len(empty.logic.closed) == 2)


async def test_logic_ends_a_session_by_eviction(empty: AccessCluster) -> None:
    await empty.start("access-0")
    peers = MemoryPeers(empty.network, "logic-0")
    node = empty.cluster.node("access-0")
    assert node is not None
    async with empty.session("ann") as ann:
        session = empty.logic.opened[0].session
        evictions = [
            access_pb2.Eviction(user="ann", session="another", code=4502),
            access_pb2.Eviction(user="ann", session=session, code=4502, message="ended by the operator"),
        ]
        answer = await peers.call(
            "/tidings.internal.v1.Access/Evict",
            access_pb2.EvictBatch(evictions=evictions),
            access_pb2.EvictOutcome,
            node=node,
            timeout_s=2,
        )
        assert answer.evicted == 1
        closed = await ann.end()
        assert (code_of(closed), closed.code) == (4502, 4502)


async def test_an_eviction_that_is_quicker_than_the_welcome_ends_it(empty: AccessCluster) -> None:
    await empty.start("access-0")
    peers = MemoryPeers(empty.network, "logic-0")
    node = empty.cluster.node("access-0")
    assert node is not None
    async with connect(empty.nodes["access-0"].address, "json") as ann:
        empty.logic.gate.clear()
        await ann.post(hello=Hello(token=empty.token("ann"), device="d"))
        await eventually(lambda: empty.nodes["access-0"].state["users"] == 1)
        session = empty.nodes["access-0"].state["opening"][0]
        evictions = [access_pb2.Eviction(user="ann", session=session, code=4501)]
        await peers.call(
            "/tidings.internal.v1.Access/Evict",
            access_pb2.EvictBatch(evictions=evictions),
            access_pb2.EvictOutcome,
            node=node,
            timeout_s=2,
        )
        assert code_of(await ann.end()) == 4501
        empty.logic.gate.set()
    await eventually(lambda: [item.session for item in empty.logic.closed] == [session])


# ---- leaving


@each_way
async def test_a_drain_says_goodbye_with_the_next_address_after_what_is_under_way(
    empty: AccessCluster, way: Way
) -> None:
    await two(empty)
    user = empty.owned_by("access-0")
    node = empty.nodes["access-0"]
    async with empty.session(user, way) as wire:
        empty.logic.gate.clear()
        frame = await wire.post(send=send("bob"))
        await eventually(lambda: node.unanswered() == 1)
        node.life.request_stop()
        await eventually(lambda: empty.cluster.ring("access").members.keys() == {"access-1"})
        assert not node.health.ready
        empty.logic.gate.set()
        assert (await wire.reply(frame)).sent.seq == 1
        closed = await wire.end()
    assert code_of(closed) == 4000
    assert closed.goodbye is not None
    other = empty.nodes["access-1"].address
    assert closed.goodbye.address == (other.tcp if way == "tcp" else other.ws)
    assert closed.goodbye.retry_after_ms > 0
    await asyncio.wait_for(asyncio.shield(node.done), 10)
    assert [item.user for item in empty.logic.closed] == [user]
    assert empty.cluster.node("access-0") is None


async def test_a_draining_node_takes_nobody_new_and_says_so(empty: AccessCluster) -> None:
    await empty.start("access-0")
    node = empty.nodes["access-0"]
    async with empty.session("ann") as ann:
        empty.logic.gate.clear()
        await ann.post(send=send("bob"))
        await eventually(lambda: node.unanswered() == 1)
        async with connect(node.address, "tcp") as waiting:
            node.life.request_stop()
            assert code_of(await waiting.end()) == 4003
        async with connect(node.address, "tcp") as late:
            assert code_of(await late.end()) == 4003
        with pytest.raises(InvalidStatus) as refused:
            async with connect_websocket(node.address.ws, proxy=None):
                pass
        assert refused.value.response.status_code == 503
        empty.logic.gate.set()
        assert code_of(await ann.end()) == 4000


async def test_a_drain_by_rpc_keeps_the_pace_that_was_asked_for(empty: AccessCluster) -> None:
    await empty.start("access-0")
    peers = MemoryPeers(empty.network, "logic-0")
    record = empty.cluster.node("access-0")
    assert record is not None
    loop = asyncio.get_running_loop()
    ended: list[float] = []

    async def stay(user: str) -> None:
        async with empty.session(user, "tcp") as wire:
            await wire.end(20)
            ended.append(loop.time())

    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(stay(f"user{number}"))
        await eventually(lambda: empty.nodes["access-0"].state["sessions"] == 6)
        await peers.call(
            "/tidings.internal.v1.Node/Drain",
            node_pb2.DrainRequest(pace_per_s=10),
            common_pb2.Empty,
            node=record,
            timeout_s=2,
        )
    assert 0.3 < max(ended) - min(ended) < 3


async def test_pushes_reach_the_clients_of_a_draining_node_until_they_leave(empty: AccessCluster) -> None:
    await two(empty, "any")
    user = empty.owned_by("access-0")
    async with AsyncExitStack() as stack:
        devices = [
            await stack.enter_async_context(empty.session(user, "tcp", device=str(number))) for number in range(6)
        ]
        empty.nodes["access-0"].life.request_stop(pace_per_s=1)
        await eventually(lambda: empty.nodes["access-1"].state["visitors_elsewhere"] == 1)
        async with empty.session("bob", node="access-1") as bob:
            await bob.request(send=send(user))
        await eventually(lambda: any(device.pushed("deliver") for device in devices))


async def test_a_node_whose_lease_was_lost_comes_back_as_another_boot_and_its_clients_log_in_again(
    empty: AccessCluster,
) -> None:
    await empty.start("access-0")
    before = empty.cluster.node("access-0")
    assert before is not None
    async with empty.session("ann") as ann:
        empty.store.expire("access-0")
        await eventually(lambda: empty.nodes["access-0"].state["boot_id"] != before.boot_id)
        assert code_of(await ann.end()) == 4000
    await eventually(lambda: empty.cluster.ring("access").members.keys() == {"access-0"})
    async with empty.session("ann") as ann:
        async with empty.session("bob") as bob:
            await bob.request(send=send("ann"))
        assert (await ann.push("deliver")).deliver.entries[0].number == 1


async def test_a_node_with_another_number_of_mailboxes_refuses_to_start_and_says_why(empty: AccessCluster) -> None:
    await empty.start("access-0")
    with pytest.raises(CannotStart, match="mailbox_partitions is 7, but this cluster was made with 8"):
        await empty.start("access-1", mailbox_partitions=7)


async def test_two_nodes_never_have_one_mailbox(empty: AccessCluster) -> None:
    for number in range(4):
        await empty.start(f"access-{number}")
    mailboxes = [node.mailbox for node in empty.cluster.membership.nodes if node.kind == "access"]
    assert len(set(mailboxes)) == 4


# ---- presence


async def test_the_death_of_a_node_makes_its_users_offline_for_watchers_elsewhere(empty: AccessCluster) -> None:
    await two(empty, "any")
    async with empty.session("ann", node="access-0") as ann, empty.session("bob", node="access-1"):
        asked = PresenceRequest(users=["bob"], watch=True)
        assert (await ann.request(presence=asked)).presence_list.users[0].online
        # What logic finds once the registry says that the boot is dead.
        del empty.logic.sessions["bob", "phone"]
        empty.nodes["access-1"].registry.cut()
        empty.store.expire("access-1")
        assert not (await ann.push("presence_list")).presence_list.users[0].online
        empty.nodes["access-1"].registry.heal()
