"""Signals: they are answered only if they are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.requests.signals import Signals
from services.common.rpc.faults import to_fault
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client, open_client
from tidings_protocol import client_pb2
from tidings_protocol.errors import Forbidden, TidingsError


class Logic:
    """Answers each signal with `outcome`."""

    def __init__(self) -> None:
        self.items: list[logic_pb2.SignalItem] = []
        self.outcome: logic_pb2.SignalOutcome | TidingsError = logic_pb2.SignalOutcome()

    async def signal(self, items: Sequence[logic_pb2.SignalItem]) -> Sequence[logic_pb2.SignalOutcome | TidingsError]:
        self.items += items
        return [self.outcome for _ in items]


class Node(FakeNode):
    """Takes signals alone."""

    signals: Signals

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        self.signals.take(connection, frame)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Client, Logic]]:
    logic, node = Logic(), Node()
    async with Signals(cast("Any", logic), lanes=1, capacity=10, batch_max=10) as node.signals:
        yield open_client("ann", node=node), logic


async def say(client: Client, number: int) -> None:
    client.say(id=number, signal=client_pb2.Signal(user="bob", name="typing"))
    async with asyncio.timeout(5):
        while client.connection.session.unanswered:  # noqa: ASYNC110 - plain values of the connection
            await asyncio.sleep(0)


async def test_one_that_was_sent_is_not_answered() -> None:
    async with served() as (client, logic):
        await say(client, 1)
        assert client.answers == []
    assert [(item.sender, item.conversation, item.name) for item in logic.items] == [("ann", "d:ann|bob", "typing")]


async def test_one_that_is_refused_or_fails_is_answered_with_the_error() -> None:
    async with served() as (client, logic):
        logic.outcome = logic_pb2.SignalOutcome(fault=to_fault(Forbidden("not a member")))
        await say(client, 1)
        logic.outcome = Forbidden("no")
        await say(client, 2)
        assert [(frame.id, frame.error.code) for frame in client.answers] == [(1, "FORBIDDEN"), (2, "FORBIDDEN")]
