"""Sends that logic has not decided yet: they hold up nobody but what comes after them in their conversation."""

from __future__ import annotations

import asyncio

from tests.support.cluster.access_nodes import AccessCluster, eventually
from tests.support.device.wire import Wire
from tidings_protocol.client_pb2 import Content, Send, ServerFrame

USERS = [f"u{number}" for number in range(16)]


async def send(wire: Wire, user: str, text: str) -> ServerFrame:
    return await wire.request(send=Send(client_id=text, user=user, content=Content(text=text)))


async def test_all_other_conversations_go_on_and_the_order_of_this_one_holds(empty: AccessCluster) -> None:
    await empty.start("access-0", send_lanes=1)
    logic = empty.logic
    logic.undecided = {"one"}
    async with empty.session("ann", "proto") as ann, asyncio.TaskGroup() as group:
        one = group.create_task(send(ann, "bob", "one"))
        await eventually(lambda: logic.sent)
        behind = [group.create_task(send(ann, "bob", text)) for text in ("two", "three")]
        for user in USERS:
            assert (await send(ann, user, f"to {user}")).sent.seq == 1
        asked = len(logic.batches)
        await eventually(lambda: len(logic.batches) > asked)
        assert not any(task.done() for task in (one, *behind))
        logic.undecided.clear()
        assert [(await task).sent.seq for task in (one, *behind)] == [1, 2, 3]
        assert (await send(ann, "bob", "four")).sent.seq == 4
    assert sum(item.client_id == "four" for item in logic.sent) == 1, "nothing is held any more"


async def test_nothing_passes_what_waits_though_another_node_would_decide_it_at_once(empty: AccessCluster) -> None:
    """The node that was asked first is gone with all that it knew: what came behind goes to no other alone."""
    await empty.start("access-0", send_lanes=1)
    logic = empty.logic
    logic.undecided = {"one"}
    async with empty.session("ann", "proto") as ann, asyncio.TaskGroup() as group:
        one = group.create_task(send(ann, "bob", "one"))
        await eventually(lambda: len(logic.batches) > 1)
        logic.gate.clear()
        two = group.create_task(send(ann, "bob", "two"))
        logic.undecided.clear()
        logic.gate.set()
        assert [(await task).sent.seq for task in (one, two)] == [1, 2]
