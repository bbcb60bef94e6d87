"""Pushes: large groups, slow consumers, lost ones, those that come too early; and what happens while logic is away."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from protos.tidings.internal.v1 import access_pb2, delivery_pb2
from services.access.requests.requests import PAGES_MAX
from services.common.parcel_calls import DELIVER
from services.common.rpc.memory import MemoryPeers
from tests.support.cluster.access_nodes import AccessCluster, eventually
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Closed, Refused, connect
from tidings_protocol.client_pb2 import (
    Ack,
    Content,
    GroupInfo,
    Hello,
    Message,
    Ping,
    Receipt,
    Send,
    Signal,
    Sync,
)

each_way = pytest.mark.parametrize("way", WAYS)
Push = delivery_pb2.Push


def message(seq: int, conversation: str = "d:ann|bob", text: str = "hi") -> bytes:
    content = Content(text=text)
    return Message(conversation=conversation, seq=seq, sender="bob", content=content).SerializeToString()


def for_ann(number: int, text: str = "hi") -> delivery_pb2.Push:
    return Push(kind=Push.MESSAGE, body=message(number, text=text), users=["ann"], numbers=[number])


def code_of(closed: Closed) -> int:
    assert closed.goodbye is not None
    return closed.goodbye.code


# ---- what is pushed


@each_way
async def test_what_one_batch_has_for_a_connection_comes_in_one_frame_in_inbox_order(
    cluster: AccessCluster, way: Way
) -> None:
    async with cluster.session("ann", way) as ann:
        await cluster.logic.push([for_ann(number) for number in (3, 1, 2)])
        entries = (await ann.push("deliver")).deliver.entries
        assert [entry.number for entry in entries] == [1, 2, 3]


@each_way
async def test_receipts_and_group_infos_are_passed_on(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        receipt = Receipt(conversation="d:ann|bob", user="bob", read_seq=3)
        info = GroupInfo(conversation="g:1", name="off")
        await cluster.logic.push(
            [
                Push(kind=Push.RECEIPT, body=receipt.SerializeToString(), users=["ann"]),
                Push(kind=Push.GROUP_INFO, body=info.SerializeToString(), users=["ann"]),
            ]
        )
        assert (await ann.push("receipt")).receipt == receipt
        assert (await ann.push("group_info")).group_info == info


@each_way
async def test_a_message_to_a_large_group_reaches_its_readers_here_and_not_its_sender(
    cluster: AccessCluster, way: Way
) -> None:
    cluster.logic.large["g:big"] = {"ann", "bob"}
    async with (
        cluster.session("ann", way) as ann,
        cluster.session("bob", way) as bob,
        cluster.session("cid", way) as cid,
    ):
        content = Content(text="to all")
        sent = (await ann.request(send=Send(client_id="1", conversation="g:big", content=content))).sent
        assert sent.number == 0
        (entry,) = (await bob.push("deliver")).deliver.entries
        assert (entry.number, entry.message.seq) == (0, 1)
        assert (await bob.request(ping=Ping())).pong.group_heads == {"g:big": 1}
        assert (await bob.request(ping=Ping())).pong.group_heads == {}
        assert not ann.pushed("deliver")
        assert not cid.pushed("deliver")


async def test_who_joins_and_leaves_a_large_group_is_indexed_by_its_node(cluster: AccessCluster) -> None:
    async with cluster.session("ann") as ann:
        for member in (True, False):
            moved = delivery_pb2.LargeMembership(conversation="g:big", member=member)
            to_all = Push(kind=Push.MESSAGE, body=message(1, "g:big"), conversation="g:big")
            await cluster.logic.push([Push(kind=Push.MEMBERSHIP, body=moved.SerializeToString(), users=["ann"])])
            node = cluster.nodes["access-0"]
            await eventually(lambda: node.state["large_groups"] == member)  # noqa: B023
            await cluster.logic.push([to_all])
        assert (await ann.push("deliver")).deliver.entries[0].message.conversation == "g:big"
        await ann.request(ping=Ping())
        assert not ann.pushed("deliver")


@each_way
async def test_a_notice_to_everyone_reaches_everyone(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann, cluster.session("bob", way) as bob:
        await cluster.logic.push([Push(kind=Push.MESSAGE, body=message(1, "b:all"), conversation="b:all")])
        for wire in (ann, bob):
            assert (await wire.push("deliver")).deliver.entries[0].message.conversation == "b:all"


@each_way
async def test_what_is_pushed_before_the_welcome_comes_after_it_unless_the_head_covers_it(
    cluster: AccessCluster, way: Way
) -> None:
    async with connect(cluster.nodes["access-0"].address, way) as ann:
        cluster.logic.inboxes["ann"] += [message(1), message(2)]
        cluster.logic.gate.clear()
        posted = await ann.post(hello=Hello(token=cluster.token("ann"), device="d"))
        await eventually(lambda: cluster.nodes["access-0"].state["users"] == 1)
        await cluster.logic.push([for_ann(2), for_ann(3)])
        await asyncio.sleep(0.1)
        cluster.logic.gate.set()
        assert (await ann.reply(posted)).welcome.inbox_head == 2
        assert [entry.number for entry in (await ann.push("deliver")).deliver.entries] == [3]


# ---- what is not acknowledged, or not read


async def test_a_push_that_is_not_acknowledged_brings_one_nudge(empty: AccessCluster) -> None:
    await empty.start("access-0", ack_timeout_s=0.3)
    async with empty.session("ann") as ann:
        await empty.logic.push([for_ann(1)])
        lagging = (await ann.push("lagging", 3)).lagging
        assert (lagging.inbox_head, lagging.paused) == (1, False)
        await asyncio.sleep(0.8)
        assert not ann.pushed("lagging")
        await ann.post(ack=Ack(number=1))
        await empty.logic.push([for_ann(2)])
        assert (await ann.push("lagging", 3)).lagging.inbox_head == 2


async def test_what_is_acknowledged_brings_no_nudge(empty: AccessCluster) -> None:
    await empty.start("access-0", ack_timeout_s=0.3)
    async with empty.session("ann") as ann:
        await empty.logic.push([for_ann(1)])
        await ann.push("deliver")
        await ann.post(ack=Ack(number=1))
        await asyncio.sleep(1)
        assert not ann.pushed("lagging")


@pytest.mark.parametrize("way", ["proto", "tcp"])
async def test_a_slow_consumer_is_paused_told_once_and_live_again_after_its_sync(
    empty: AccessCluster, way: Way
) -> None:
    node = await empty.start("access-0", slow_consumer_bytes=32_768, socket_send_buffer_bytes=4096)
    big = "x" * 30_000
    async with empty.session("bob", way) as bystander, empty.session("ann", way) as ann:
        pipe = ann.pipe
        transport = getattr(pipe, "_writer", None).transport if way == "tcp" else pipe._socket.transport  # type: ignore[attr-defined, union-attr]
        transport.pause_reading()
        number = 0
        async with asyncio.timeout(20):
            while not node.state["slow_consumers"]:
                number += 1
                empty.logic.inboxes["ann"].append(message(number, text=big))
                await empty.logic.push([for_ann(number, big)])
                await asyncio.sleep(0)
        for _ in range(100):
            number += 1
            empty.logic.inboxes["ann"].append(message(number, text=big))
            await empty.logic.push([for_ann(number, big)])
        # Others are served meanwhile.
        assert (await bystander.request(ping=Ping())).pong.time_ms
        transport.resume_reading()
        lagging = (await ann.push("lagging")).lagging
        assert lagging.paused
        pushed = sum(len(frame.deliver.entries) for frame in ann.pushed("deliver"))
        assert pushed < number
        page = (await ann.request(sync=Sync(after=pushed))).page
        assert page.head == number
        assert not node.state["slow_consumers"]
        number += 1
        await empty.logic.push([for_ann(number)])
        await eventually(
            lambda: any(e.number == number for frame in ann.pushed("deliver") for e in frame.deliver.entries)
        )
        assert sum(frame.WhichOneof("body") == "lagging" for frame in ann.received) == 1


async def test_pages_that_many_ask_for_at_once_go_to_logic_in_small_calls(empty: AccessCluster) -> None:
    """Each may be large: what is asked for together must be read within one deadline."""
    await empty.start("access-0", request_lanes=1)
    async with AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(empty.session(f"user{n}", "tcp")) for n in range(30)]
        empty.logic.gate.clear()
        asked = [await device.post(sync=Sync()) for device in devices]
        empty.logic.gate.set()
        for device, request in zip(devices, asked, strict=True):
            assert (await device.reply(request)).HasField("page")
    assert len(asked) == sum(empty.logic.calls)
    assert 1 < max(empty.logic.calls) <= PAGES_MAX


async def test_a_page_with_more_to_come_does_not_end_the_pause(empty: AccessCluster) -> None:
    node = await empty.start("access-0", slow_consumer_bytes=8192, socket_send_buffer_bytes=4096)
    empty.logic.pages_more = True
    big = "x" * 30_000
    async with empty.session("ann", "tcp") as ann:
        transport = ann.pipe._writer.transport  # type: ignore[attr-defined]
        transport.pause_reading()
        for number in range(1, 400):
            await empty.logic.push([for_ann(number, big)])
            await asyncio.sleep(0)
            if node.state["slow_consumers"]:
                break
        transport.resume_reading()
        assert (await ann.push("lagging")).lagging.paused
        assert (await ann.request(sync=Sync())).page.more
        assert node.state["slow_consumers"] == 1
        empty.logic.pages_more = False
        assert not (await ann.request(sync=Sync())).page.more
        assert node.state["slow_consumers"] == 0


# ---- heartbeats


@each_way
async def test_silence_is_probed_three_times_and_then_ended_with_4002(empty: AccessCluster, way: Way) -> None:
    await empty.start("access-0", heartbeat_s=1, probe_gap_s=0.3)
    async with empty.session("ann", way) as ann:
        if way != "tcp":
            # A client whose event loop is blocked does not answer pings.
            ann.pipe._socket.protocol.pings_received = lambda: None  # type: ignore[attr-defined]
            ann.pipe._socket.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(3.2)
            ann.pipe._socket.transport.resume_reading()  # type: ignore[attr-defined]
        assert code_of(await ann.end(6)) == 4002
        if way == "tcp":
            assert sum(frame.WhichOneof("body") == "pong" for frame in ann.received) == 3


@pytest.mark.parametrize("way", ["json", "proto"])
async def test_the_answer_to_a_websocket_ping_is_a_sign_of_life(empty: AccessCluster, way: Way) -> None:
    await empty.start("access-0", heartbeat_s=1, probe_gap_s=0.3)
    async with empty.session("ann", way) as ann:
        await asyncio.sleep(3.5)
        assert (await ann.request(ping=Ping())).pong.time_ms


async def test_who_says_that_its_user_is_away_has_the_longer_interval(empty: AccessCluster) -> None:
    await empty.start("access-0", heartbeat_s=1, mobile_heartbeat_s=1, idle_heartbeat_s=60, probe_gap_s=0.1)
    async with empty.session("ann", "tcp") as away, empty.session("bob", "tcp") as here:
        await away.request(ping=Ping(idle=True))
        assert code_of(await here.end(5)) == 4002
        assert (await away.request(ping=Ping())).pong.time_ms


async def test_a_session_ends_when_its_token_runs_out(cluster: AccessCluster) -> None:
    async with connect(cluster.nodes["access-0"].address, "json") as ann:
        await ann.hello(cluster.token("ann", ttl_s=-9))
        assert code_of(await ann.end(5)) == 4506


# ---- logic is away


@each_way
async def test_while_logic_is_away_requests_are_told_when_to_retry_and_pings_are_answered(
    empty: AccessCluster, way: Way
) -> None:
    await empty.start("access-0", rpc_timeout_s=0.2, rpc_budget_s=0.4)
    async with empty.session("ann", way) as ann:
        await empty.logic.push([for_ann(1)])
        await ann.push("deliver")
        empty.logic.away = True
        for body in ({"send": Send(client_id="1", user="bob", content=Content(text="x"))}, {"sync": Sync()}):
            with pytest.raises(Refused) as refused:
                await ann.request(**body)
            assert refused.value.code == "UNAVAILABLE"
            assert refused.value.retry_after_ms == 300
        await ann.post(signal=Signal(user="bob", name="typing"))
        assert (await ann.request(ping=Ping())).pong.inbox_head == 1
        async with connect(empty.nodes["access-0"].address, way) as late:
            await late.post(hello=Hello(token=empty.token("cid"), device="d"))
            closed = await late.end()
            assert code_of(closed) == 4003
            assert closed.goodbye is not None
            assert closed.goodbye.retry_after_ms == 300
        empty.logic.away = False
        assert (await ann.request(send=Send(client_id="1", user="bob", content=Content(text="x")))).sent.seq == 1
    await eventually(lambda: {item.user for item in empty.logic.closed} == {"ann", "cid"})


async def test_acks_and_closes_wait_until_logic_is_back(empty: AccessCluster) -> None:
    await empty.start("access-0", rpc_timeout_s=0.2, rpc_budget_s=0.3)
    async with empty.session("ann") as ann:
        empty.logic.away = True
        await ann.post(ack=Ack(number=5))
        await ann.request(ping=Ping())
    await asyncio.sleep(0.5)
    empty.logic.away = False
    await eventually(lambda: empty.logic.closed and empty.logic.acks)
    assert empty.logic.acks[-1].number == 5


# ---- Kafka is away


async def test_a_message_that_kafka_did_not_carry_shows_at_the_next_heartbeat(cluster: AccessCluster) -> None:
    async with cluster.session("ann") as ann, cluster.session("bob") as bob:
        cluster.broker.away()
        await bob.request(send=Send(client_id="1", user="ann", content=Content(text="x")))
        assert (await ann.request(ping=Ping())).pong.inbox_head == 1
        assert (await ann.request(sync=Sync())).page.entries[0].number == 1
        cluster.broker.back()
        await bob.request(send=Send(client_id="2", user="ann", content=Content(text="x")))
        assert (await ann.push("deliver")).deliver.entries[-1].number == 2


@each_way
async def test_what_comes_by_call_is_delivered_as_what_comes_through_kafka(cluster: AccessCluster, way: Way) -> None:
    async with cluster.session("ann", way) as ann:
        node = cluster.cluster.node("access-0")
        assert node is not None
        cluster.broker.away()
        mail = delivery_pb2.Parcel(node=node.name, boot_id=node.boot_id, pushes=[for_ann(1), for_ann(2)])
        notice = Push(kind=Push.MESSAGE, body=message(1, "b:all"), conversation="b:all")
        values = [each.SerializeToString() for each in (mail, delivery_pb2.Parcel(pushes=[notice]))]
        batch = access_pb2.DeliverBatch(parcels=[values[0], b"\xff\xff", values[1]])
        peers = MemoryPeers(cluster.network, "logic-0")
        await peers.call(DELIVER, batch, access_pb2.DeliverOutcome, node=node, timeout_s=5)
        entries = (await ann.push("deliver")).deliver.entries
        assert [entry.number for entry in entries] == [1, 2]
        assert (await ann.push("deliver")).deliver.entries[0].message.conversation == "b:all"


async def test_a_node_that_does_not_hear_kafka_says_so_until_it_does(cluster: AccessCluster) -> None:
    def deaf() -> bool:
        node = cluster.cluster.node("access-0")
        return node is not None and node.deaf and node.state == "ready"

    async with cluster.session("ann") as ann:
        assert not deaf()
        cluster.logic.inboxes["ann"].append(message(1))  # published before anybody knew
        cluster.broker.away()
        await eventually(deaf)
        assert (await ann.push("lagging")).lagging.inbox_head == 1
        cluster.broker.back()
        await eventually(lambda: not deaf())


async def test_records_that_kafka_lost_bring_a_nudge(cluster: AccessCluster) -> None:
    async with cluster.session("ann") as ann, cluster.session("bob") as bob:
        cluster.broker.away()
        cluster.logic.inboxes["ann"].append(message(1))
        node = cluster.cluster.node("access-0")
        assert node is not None
        assert node.mailbox is not None
        partition = cluster.broker.topic("tidings.deliver")[node.mailbox]
        partition.start += 1
        cluster.broker.back()
        await bob.request(send=Send(client_id="1", user="cid", content=Content(text="x")))
        await cluster.logic.push([Push(kind=Push.RECEIPT, body=b"", users=["bob"])])
        assert (await ann.push("lagging")).lagging.inbox_head == 1


async def test_a_kafka_that_comes_back_empty_brings_a_nudge_and_live_delivery_goes_on(cluster: AccessCluster) -> None:
    async with cluster.session("ann") as ann:
        cluster.logic.inboxes["ann"].append(message(1))  # its record went with the disk
        cluster.broker.wipe()
        assert (await ann.push("lagging")).lagging.inbox_head == 1
        await cluster.logic.push([for_ann(2)])
        assert (await ann.push("deliver")).deliver.entries[0].number == 2
