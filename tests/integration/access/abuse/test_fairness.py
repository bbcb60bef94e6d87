"""One user's connections do not take the lanes from everybody."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from services.common.rpc.memory import Passage
from tests.support.cluster.access_nodes import access_cluster
from tests.support.device.wire import Refused, Wire
from tidings_protocol.client_pb2 import ClientFrame, Content, Send


def many(first: int, count: int) -> bytes:
    """So many sends as they go over TCP, to as many users."""
    frames = [
        ClientFrame(
            id=n, send=Send(client_id=f"c{n}", user=f"x{n % 50}", content=Content(text="x"))
        ).SerializeToString()
        for n in range(first, first + count)
    ]
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


async def flood(wire: Wire) -> None:
    """200 sends at a time, as quickly as they are taken or refused."""
    for first in range(1, 1_000_000, 200):
        await wire.pipe.send_raw(many(first, 200))
        with suppress(Refused):
            await wire.reply(first + 199, 30)


async def test_who_sends_little_is_served_while_another_floods_the_lanes(tmp_path: Path) -> None:
    async def slowly(passage: Passage) -> None:
        if passage.method.endswith("Logic/SendRows") and passage.phase == "request":
            await asyncio.sleep(0.05)

    async with access_cluster(tmp_path) as cluster, AsyncExitStack() as stack:
        await cluster.start("access-0", batch_max=20, send_answer_ms=400)
        cluster.network.fault = slowly
        quiet = await stack.enter_async_context(cluster.session("ann", "tcp"))
        loud = [await stack.enter_async_context(cluster.session("eve", "tcp", device=f"d{n}")) for n in range(6)]
        async with asyncio.TaskGroup() as group:
            floods = [group.create_task(flood(wire)) for wire in loud]
            await asyncio.sleep(0.5)
            for number in range(15):
                send = Send(client_id=f"a{number}", user="bob", content=Content(text="hi"))
                assert (await quiet.request(send=send)).sent.client_id == f"a{number}"
            for each in floods:
                each.cancel()
        refused = sum(frame.error.code == "OVERLOADED" for wire in loud for frame in wire.received)
        assert refused, "the lanes were full"
