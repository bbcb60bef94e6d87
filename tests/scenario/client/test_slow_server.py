"""A server that is late is not asked for what is on its way, and what is lost is fetched all the same."""

from __future__ import annotations

import asyncio

from tests.support.cluster.fake_access import FakeAccess
from tests.support.cluster.model_server import ModelServer
from tidings import Client
from tidings.core.messages.gap_time import CEILING_S
from tidings_protocol import client_pb2 as pb

PATIENCE_S = 20.0
ANSWER_S = 0.2
PUSH_S = 0.6
ROUNDS = 8


def _late_s(frame: pb.ServerFrame) -> float:
    return PUSH_S if frame.HasField("deliver") else ANSWER_S


def _count_syncs(server: ModelServer) -> list[int]:
    """Behind which numbers it was asked for pages, from now on."""
    asked: list[int] = []

    def note(_session: object, frame: pb.ClientFrame) -> None:
        if frame.HasField("sync"):
            asked.append(frame.sync.after)

    server.refuse = note
    return asked


async def _talk(bob: Client, server: ModelServer) -> None:
    """Whenever bob is told the place of a message, one of ann's before it is still on its way."""
    for number in range(ROUNDS):
        server.text("ann", "d:ann|bob", f"{number}")
        await bob.send("cleo", f"{number}")


async def _take(bob: Client, last: str) -> list[str]:
    texts: list[str] = []
    async for message in bob.messages():
        texts.append(message.text)
        if message.text == last:
            return texts
    raise AssertionError("the messages ended")


async def test_pushes_that_are_late_cost_no_sync_and_come_in_order(access: FakeAccess, server: ModelServer) -> None:
    async with asyncio.timeout(PATIENCE_S), Client(access.ws, token="bob") as bob:
        access.late_s = _late_s
        asked = _count_syncs(server)
        await _talk(bob, server)
        assert await _take(bob, f"{ROUNDS - 1}") == [f"{number}" for number in range(ROUNDS)]
    assert asked == []


async def test_a_push_that_a_late_server_loses_is_fetched_within_the_ceiling(
    access: FakeAccess, server: ModelServer
) -> None:
    clock = asyncio.get_running_loop().time
    async with asyncio.timeout(PATIENCE_S), Client(access.ws, token="bob") as bob:
        access.late_s = _late_s
        asked = _count_syncs(server)
        await _talk(bob, server)
        await _take(bob, f"{ROUNDS - 1}")
        access.lose = lambda frame: frame.HasField("deliver")
        server.text("ann", "d:ann|bob", "lost")
        access.lose = lambda _frame: False
        began = clock()
        server.text("ann", "d:ann|bob", "shows the gap")
        assert await _take(bob, "shows the gap") == ["lost", "shows the gap"]
        assert clock() - began < PUSH_S + CEILING_S + 2 * ANSWER_S
    assert len(asked) == 1
