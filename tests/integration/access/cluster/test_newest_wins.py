"""Of any number of logins of one device one session is left; what is done in a connection's name ends with it."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.common.rpc.memory import Passage
from tests.support.cluster.access_nodes import AccessCluster, eventually
from tests.support.device.wire import Wire, connect
from tidings_protocol.client_pb2 import Content, GroupRequest, Hello, Ping, Read, Send
from tidings_protocol.errors import Forbidden, Unavailable
from tidings_protocol.ids import hash64

NODES = ("access-0", "access-1", "access-2")


async def login(cluster: AccessCluster, stack: AsyncExitStack, node: str, **hello: object) -> Wire:
    """A connection that says hello and waits for nothing."""
    wire = await stack.enter_async_context(connect(cluster.nodes[node].address, "proto"))
    await wire.post(hello=Hello(token=cluster.token("ann"), device="phone", **hello))  # type: ignore[arg-type]
    return wire


async def ended_with(wire: Wire) -> int:
    closed = await wire.end()
    assert closed.goodbye is not None
    return closed.goodbye.code


async def gets_what_comes(cluster: AccessCluster, wire: Wire) -> bool:
    async with cluster.session("bob", device=str(random.random())) as bob:
        await bob.request(send=Send(client_id=str(random.random()), user="ann", content=Content(text="hi")))
    return bool((await wire.push("deliver")).deliver.entries)


async def one_is_left(cluster: AccessCluster, wires: list[Wire]) -> Wire:
    """Waits for it; fails if none is, or if another one heard anything but 4501."""
    await eventually(lambda: sum(wire.goodbye is None for wire in wires) == 1)
    [left] = [wire for wire in wires if wire.goodbye is None]
    assert {await ended_with(wire) for wire in wires if wire is not left} <= {4501}
    await left.request(ping=Ping())
    await eventually(lambda: len(cluster.logic.sessions) == 1)
    assert await gets_what_comes(cluster, left)
    assert left.goodbye is None
    return left


def holding(cluster: AccessCluster, source: str) -> asyncio.Event:
    """Nothing that this node asks of logic gets through before the event is set."""
    mended = asyncio.Event()

    async def fault(passage: Passage) -> None:
        if passage.source == source and passage.address == "logic-0":
            await mended.wait()

    cluster.network.fault = fault
    return mended


# ---- many at once


@pytest.mark.parametrize("attempts", ["none", "rising", "shuffled"])
@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("count", [2, 3, 5, 30])
async def test_of_logins_at_the_same_moment_one_is_left_and_gets_what_comes(
    empty: AccessCluster, count: int, nodes: int, attempts: str
) -> None:
    rng = random.Random(f"{count} {nodes} {attempts}")
    for name in NODES[:nodes]:
        await empty.start(name, placement="any")

    async def weather(passage: Passage) -> None:
        await asyncio.sleep(rng.uniform(0, 0.005))

    empty.network.fault = weather
    numbers = list(range(1, count + 1))
    if attempts == "shuffled":
        rng.shuffle(numbers)
    async with AsyncExitStack() as stack:
        wires = await asyncio.gather(
            *(
                login(empty, stack, rng.choice(NODES[:nodes]), attempt=0 if attempts == "none" else number)
                for number in numbers
            )
        )
        left = await one_is_left(empty, list(wires))
        if attempts != "none":
            assert numbers[wires.index(left)] == count


async def test_who_comes_while_the_older_login_is_still_being_stored_is_the_one_that_stays(
    cluster: AccessCluster,
) -> None:
    cluster.logic.gate.clear()
    async with AsyncExitStack() as stack:
        older = await login(cluster, stack, "access-0")
        await eventually(lambda: len(cluster.nodes["access-0"].state["opening"]) == 1)
        newer = await login(cluster, stack, "access-0")
        await eventually(lambda: len(cluster.nodes["access-0"].state["opening"]) == 2)
        cluster.logic.gate.set()
        assert await one_is_left(cluster, [older, newer]) is newer


async def test_an_older_login_that_comes_later_is_told_that_a_newer_one_is_there(cluster: AccessCluster) -> None:
    async with cluster.session("ann", attempt=9) as newer, connect(cluster.nodes["access-0"].address, "proto") as older:
        await older.post(hello=Hello(token=cluster.token("ann"), device="phone", attempt=8))
        closed = await older.end()
        assert closed.goodbye is not None
        assert (closed.goodbye.code, "attempt 9" in closed.goodbye.message) == (4501, True)
        await newer.request(ping=Ping())
    assert newer.goodbye is None


# ---- a login that nobody waits for any more


async def two_nodes(cluster: AccessCluster) -> None:
    for name in NODES[:2]:
        await cluster.start(name, placement="any")
    await eventually(lambda: len(cluster.cluster.ring("access").members) == 2)


@pytest.mark.parametrize("attempts", [(0, 0), (1, 2)])
async def test_a_login_under_way_whose_client_went_elsewhere_ends_nobody(
    empty: AccessCluster, attempts: tuple[int, int]
) -> None:
    await two_nodes(empty)
    mended = holding(empty, "access-0")
    async with connect(empty.nodes["access-0"].address, "proto") as wire:
        await wire.post(hello=Hello(token=empty.token("ann"), device="phone", attempt=attempts[0]))
        await eventually(lambda: len(empty.nodes["access-0"].state["opening"]) == 1)
    await eventually(lambda: empty.nodes["access-0"].state["users"] == 0)
    async with empty.session("ann", "proto", node="access-1", attempt=attempts[1]) as live:
        mended.set()
        await eventually(lambda: len(empty.logic.closed) >= 1)
        await live.request(ping=Ping())
        assert live.goodbye is None


async def test_a_login_that_waits_in_its_lane_is_not_begun_when_its_client_is_gone(empty: AccessCluster) -> None:
    await two_nodes(empty)
    mended = holding(empty, "access-0")
    same_lane = next(f"u{n}" for n in range(100) if hash64(f"u{n}") % 4 == hash64("ann") % 4)
    async with connect(empty.nodes["access-0"].address, "proto") as other:
        await other.post(hello=Hello(token=empty.token(same_lane), device="phone"))
        await eventually(lambda: len(empty.nodes["access-0"].state["opening"]) == 1)
        async with connect(empty.nodes["access-0"].address, "proto") as wire:
            await wire.post(hello=Hello(token=empty.token("ann"), device="phone"))
            await eventually(lambda: len(empty.nodes["access-0"].state["opening"]) == 2)
        await eventually(lambda: empty.nodes["access-0"].state["users"] == 1)
        async with empty.session("ann", "proto", node="access-1") as live:
            mended.set()
            await other.reply(1)
            await live.request(ping=Ping())
    assert [item.node for item in empty.logic.opened if item.user == "ann"] == ["access-1"]
    assert {item.user for item in empty.logic.closed} <= {"ann", same_lane}


@pytest.mark.parametrize("error", [Unavailable("the storage node did not answer in time"), Forbidden("refused")])
async def test_a_session_that_may_have_been_stored_is_closed_whatever_the_answer_is(
    cluster: AccessCluster, error: Unavailable | Forbidden
) -> None:
    cluster.logic.stored_fault = error
    async with connect(cluster.nodes["access-0"].address, "proto") as wire:
        await wire.post(hello=Hello(token=cluster.token("ann"), device="phone"))
        assert await ended_with(wire) in {4003, 4507}
    await eventually(lambda: len(cluster.logic.closed) == 1)
    assert cluster.logic.sessions == {}


async def test_a_session_that_was_stored_under_a_boot_that_is_gone_is_not_welcomed(cluster: AccessCluster) -> None:
    node = cluster.nodes["access-0"]
    cluster.logic.gate.clear()
    async with connect(node.address, "proto") as wire:
        await wire.post(hello=Hello(token=cluster.token("ann"), device="phone"))
        await eventually(lambda: len(node.state["opening"]) == 1)
        before = node.state["boot_id"]
        cluster.store.expire("access-0")
        await eventually(lambda: node.state["boot_id"] != before and node.state["state"] == "ready")
        cluster.logic.gate.set()
        closed = await wire.end()
        assert closed.goodbye is not None
        assert (closed.goodbye.code, closed.goodbye.retry_after_ms > 0) == (4000, True)
    await eventually(lambda: len(cluster.logic.closed) == 1)
    stored_under = {item.session: item.boot_id for item in cluster.logic.opened}
    assert [stored_under[item.session] for item in cluster.logic.closed] == [before]
    assert cluster.logic.sessions == {}


# ---- requests of connections that are gone


async def test_a_change_of_a_group_is_not_made_when_its_connection_is_gone_but_what_was_read_is(
    cluster: AccessCluster,
) -> None:
    node = cluster.nodes["access-0"]
    async with cluster.session("ann", "proto") as ann:
        mended = holding(cluster, "access-0")
        add = GroupRequest(add=GroupRequest.Add(conversation="g:1", users=["bob"]))
        await ann.post(read=Read(conversation="d:ann|bob", seq=1))
        await eventually(lambda: node.unanswered() == 1)
        await asyncio.sleep(0.05)  # the first is under way, so that the others wait
        await ann.post(group=add)
        await ann.post(read=Read(conversation="d:ann|cid", seq=1))
        await eventually(lambda: node.unanswered() == 3)
    await eventually(lambda: node.state["users"] == 0)
    mended.set()
    await eventually(lambda: len(cluster.logic.handled) == 2)
    await eventually(lambda: len(cluster.logic.closed) == 1)
    assert all(b"g:1" not in item.frame for item in cluster.logic.handled)


async def test_a_change_that_is_tried_again_and_again_ends_with_its_connection(cluster: AccessCluster) -> None:
    """The link is cut, a try times out, and the next one would get through."""
    node = cluster.nodes["access-0"]
    tries = 0

    async def fault(passage: Passage) -> None:
        nonlocal tries
        if passage.method.endswith("Handle") and passage.phase == "request":
            tries += 1
            if tries == 1:
                await asyncio.Event().wait()

    async with cluster.session("ann", "proto") as ann:
        cluster.network.fault = fault
        await ann.post(group=GroupRequest(leave=GroupRequest.Leave(conversation="g:1")))
        await eventually(lambda: tries == 1)
    await eventually(lambda: node.unanswered() == 0, timeout_s=8)
    assert cluster.logic.handled == []
    assert tries == 1


# ---- what is stored is compared with what is held


async def test_a_session_that_nobody_holds_is_closed(empty: AccessCluster) -> None:
    node = await empty.start("access-0", session_check_s=0.1)
    async with empty.session("ann", "proto") as ann:
        for user in ("bob", "cid", "dan"):
            ghost = logic_pb2.OpenItem(user=user, device="tv", session=f"{user}-ghost", node="access-0")
            ghost.boot_id = node.state["boot_id"]
            empty.logic._put(ghost)  # as a late call leaves it
        await eventually(lambda: list(empty.logic.sessions) == [("ann", "phone")])
        await ann.request(ping=Ping())


async def test_a_session_whose_record_is_gone_is_stored_again_and_its_client_notices_nothing(
    empty: AccessCluster,
) -> None:
    await empty.start("access-0", session_check_s=0.1)
    async with empty.session("ann", "proto", attempt=7) as ann:
        session = empty.logic.sessions["ann", "phone"].session
        empty.logic.forget("ann", "phone")
        await eventually(lambda: ("ann", "phone") in empty.logic.sessions)
        again = empty.logic.sessions["ann", "phone"]
        assert (again.session, again.attempt, again.node) == (session, 7, "access-0")
        assert await gets_what_comes(empty, ann)


async def test_a_session_on_a_node_that_sleeps_ends_when_it_wakes(empty: AccessCluster) -> None:
    await two_nodes(empty)
    asleep, tries = True, 0

    async def fault(passage: Passage) -> None:
        nonlocal tries
        if passage.method.endswith("Evict") and asleep:
            tries += 1
            raise Unavailable("the node sleeps")

    empty.network.fault = fault
    async with (
        empty.session("ann", "proto", node="access-0") as older,
        empty.session("ann", "proto", node="access-1") as newer,
    ):
        await eventually(lambda: tries == 3)
        assert older.goodbye is None
        asleep = False
        assert await ended_with(older) == 4501
        await newer.request(ping=Ping())


async def test_one_whose_device_has_a_newer_session_that_could_not_end_it_ends_by_itself(empty: AccessCluster) -> None:
    for name in NODES[:2]:
        await empty.start(name, placement="any", session_check_s=0.1)
    await eventually(lambda: len(empty.cluster.ring("access").members) == 2)

    async def fault(passage: Passage) -> None:
        if passage.method.endswith("Evict"):
            raise Unavailable("the link between them is cut")

    async with empty.session("ann", "proto", node="access-0") as older:
        empty.network.fault = fault
        async with empty.session("ann", "proto", node="access-1") as newer:
            assert await ended_with(older) == 4501
            await newer.request(ping=Ping())
            assert empty.logic.sessions["ann", "phone"].node == "access-1"


# ---- leaving


async def test_a_node_that_waits_for_the_registry_says_its_goodbyes_at_once(empty: AccessCluster) -> None:
    node = await empty.start("access-0")
    async with empty.session("ann", "proto") as ann:
        node.registry.cut()
        node.registry.lost.set()
        await eventually(lambda: node.state["state"] == "starting")
        node.life.request_stop()
        assert await ended_with(ann) == 4000
        node.registry.heal()
        await node.stop()


async def test_goodbyes_do_not_wait_for_a_registry_that_is_away(empty: AccessCluster) -> None:
    node = await empty.start("access-0")
    async with empty.session("ann", "proto") as ann:
        empty.store.away()
        node.life.request_stop()
        assert await ended_with(ann) == 4000
        empty.store.back()
        await node.stop()


async def test_a_lease_that_is_lost_again_during_a_slow_farewell_is_taken_anew_at_once(empty: AccessCluster) -> None:
    node = await empty.start("access-0", drain_pace_per_s=1, drain_deadline_s=60.0)
    boots = {node.state["boot_id"]}
    async with AsyncExitStack() as stack:
        devices = [
            await stack.enter_async_context(empty.session(f"user{n}", "proto", device=f"d{n}")) for n in range(6)
        ]
        for _ in range(3):
            empty.store.expire("access-0")
            await eventually(lambda: node.state["boot_id"] not in boots and node.state["state"] == "ready", 2.0)
            boots.add(node.state["boot_id"])
        assert sum(device.goodbye is None for device in devices) >= 2
        assert [await ended_with(device) for device in devices] == [4000] * 6


# ---- cursors of large groups


@pytest.mark.parametrize("way", ["json", "proto", "tcp"])
async def test_who_is_in_a_group_no_more_is_told_right_behind_the_welcome(cluster: AccessCluster, way: str) -> None:
    cluster.logic.large = {"g:in": {"ann"}, "g:out": {"bob"}}
    async with connect(cluster.nodes["access-0"].address, way) as ann:  # type: ignore[arg-type]
        hello = Hello(token=cluster.token("ann"), device="phone", group_cursors={"g:in": 1, "g:out": 1})
        await ann.post(hello=hello)
        await ann.post(ping=Ping())
        await ann.reply(2)
        first, second, *_ = ann.received
        assert (first.WhichOneof("body"), second.WhichOneof("body")) == ("welcome", "group_info")
        assert (second.group_info.conversation, second.group_info.role, second.id) == ("g:out", 0, 0)
        assert not any(frame.group_info.conversation == "g:in" for frame in ann.received)


@pytest.mark.parametrize(("count", "code"), [(1000, 0), (1001, 4503)])
async def test_a_hello_may_have_a_thousand_group_cursors(cluster: AccessCluster, count: int, code: int) -> None:
    cursors = {f"g:{n}": 1 for n in range(count)}
    cluster.logic.large = {group: {"ann"} for group in cursors}
    async with connect(cluster.nodes["access-0"].address, "proto") as ann:
        await ann.post(hello=Hello(token=cluster.token("ann"), device="phone", group_cursors=cursors))
        if code:
            assert await ended_with(ann) == code
        else:
            assert (await ann.reply(1)).welcome.user == "ann"
