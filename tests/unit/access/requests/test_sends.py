"""Sends: to whom they go, and how they wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.requests.sends import Sends
from services.access.send_rows import Outcome, SendRow, StoredSend
from services.common.clock import ManualClock
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client, open_client
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError


class Logic:
    """Notes what it is given with each call; those in `pending` are not decided yet."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.pending: set[str] = set()

    async def send_rows(self, rows: Sequence[SendRow]) -> Sequence[Outcome]:
        self.calls.append([row.client_id for row in rows])
        return [None if row.client_id in self.pending else StoredSend(1, 0, 0) for row in rows]

    async def send(self, items: Sequence[logic_pb2.SendItem]) -> Sequence[logic_pb2.SendOutcome]:
        self.calls.append([item.client_id for item in items])
        return [logic_pb2.SendOutcome(seq=1, pending=item.client_id in self.pending) for item in items]


class Node(FakeNode):
    """Takes sends alone."""

    sends: Sends

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        try:
            self.sends.take(connection, frame)
        except TidingsError as error:
            connection.refuse(frame.id, body, error)


@asynccontextmanager
async def served(content_bytes_max: int = 1000) -> AsyncIterator[tuple[Client, Logic]]:
    logic, node = Logic(), Node()
    sizes = {"content_bytes_max": content_bytes_max, "lanes": 1, "capacity": 10, "batch_max": 10}
    async with Sends(cast("Any", logic), ManualClock(), answer_s=10.0, **sizes) as node.sends:
        yield open_client(node=node), logic


def send(client: Client, client_id: str, id: int, text: str = "hi", **to: str) -> None:  # noqa: A002 - as in the frame
    content = client_pb2.Content(text=text)
    client.say(id=id, send=client_pb2.Send(client_id=client_id, content=content, **to))


async def answered(client: Client, count: int) -> list[int]:
    """The ids of the first answers, in their order."""
    async with asyncio.timeout(5):
        while len(client.answers) < count:  # noqa: ASYNC110 - plain values of the connection
            await asyncio.sleep(0)
    return [frame.id for frame in client.answers]


async def asked(logic: Logic) -> None:
    """Logic has been asked once and more."""
    async with asyncio.timeout(5):
        while not logic.calls:  # noqa: ASYNC110 - plain values
            await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_what_waits_goes_to_logic_in_one_call_and_in_its_order() -> None:
    async with served() as (client, logic):
        for number, client_id in enumerate("abc", 1):
            send(client, client_id, number, user="bob")
        assert await answered(client, 3) == [1, 2, 3]
    assert logic.calls == [["a", "b", "c"]]


async def test_only_the_conversation_of_a_send_that_is_not_decided_waits_for_it() -> None:
    async with served() as (client, logic):
        logic.pending = {"a"}
        send(client, "a", 1, user="bob")
        await asked(logic)
        send(client, "b", 2, user="bob")
        send(client, "c", 3, user="cid")
        assert await answered(client, 1) == [3]
        logic.pending.clear()
        assert await answered(client, 3) == [3, 1, 2]


async def test_a_content_that_is_too_large_is_refused_and_goes_to_nobody() -> None:
    async with served(content_bytes_max=10) as (client, logic):
        send(client, "a", 1, "x" * 100, user="bob")
        assert [frame.error.code for frame in client.answers] == ["TOO_LARGE"]
    assert logic.calls == []
