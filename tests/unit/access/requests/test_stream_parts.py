"""Parts of streams: they are answered only if they are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.requests.stream_parts import StreamParts
from services.common.rpc.faults import to_fault
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client, open_client
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden, TidingsError


class Logic:
    """Answers each part with `outcome`, when the gate is open."""

    def __init__(self) -> None:
        self.items: list[logic_pb2.StreamPartItem] = []
        self.outcome: logic_pb2.StreamPartOutcome | TidingsError = logic_pb2.StreamPartOutcome()
        self.gate = asyncio.Event()
        self.gate.set()

    async def stream_parts(
        self, items: Sequence[logic_pb2.StreamPartItem]
    ) -> Sequence[logic_pb2.StreamPartOutcome | TidingsError]:
        await self.gate.wait()
        self.items += items
        return [self.outcome for _ in items]


class Node(FakeNode):
    """Takes parts alone."""

    parts: StreamParts

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        try:
            self.parts.take(connection, frame)
        except TidingsError as error:
            connection.refuse(frame.id, body, error)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Client, Logic, Node]]:
    logic, node = Logic(), Node()
    parts = StreamParts(cast("Any", logic), content_bytes_max=8, lanes=1, capacity=10, batch_max=10)
    async with parts as node.parts:
        yield open_client("ann", node=node), logic, node


def say(client: Client, number: int, part: int, text: str = "x", *, seq: int = 3, conversation: str = "g:x") -> None:
    client.say(id=number, stream_part=client_pb2.StreamPart(conversation=conversation, seq=seq, part=part, text=text))


async def all_answered(client: Client) -> None:
    async with asyncio.timeout(5):
        while client.connection.session.unanswered:  # noqa: ASYNC110 - plain values of the connection
            await asyncio.sleep(0)


async def test_a_part_that_was_taken_is_not_answered_and_parts_keep_their_order() -> None:
    async with served() as (client, logic, _):
        for part in range(1, 6):
            say(client, part, part)
        await all_answered(client)
        assert client.answers == []
    assert [(item.sender, item.conversation, item.seq, item.part) for item in logic.items] == [
        ("ann", "g:x", 3, part) for part in range(1, 6)
    ]


async def test_one_that_is_refused_is_answered_with_the_part_that_is_wanted() -> None:
    async with served() as (client, logic, _):
        logic.outcome = logic_pb2.StreamPartOutcome(fault=to_fault(BadRequest("too early", next_part=4)))
        say(client, 1, 7)
        await all_answered(client)
        logic.outcome = Forbidden("no")
        say(client, 2, 4)
        await all_answered(client)
        told = [(frame.id, frame.error.code, frame.error.next_part) for frame in client.answers]
    assert told == [(1, "BAD_REQUEST", 4), (2, "FORBIDDEN", 0)]


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"part": 0}, "BAD_REQUEST"),
        ({"part": 1, "seq": 0}, "BAD_REQUEST"),
        ({"part": 1, "conversation": "x:1"}, "BAD_REQUEST"),
        ({"part": 1, "text": "123456789"}, "TOO_LARGE"),
    ],
)
async def test_what_the_frame_alone_shows_to_be_wrong_goes_no_further(part: dict[str, Any], code: str) -> None:
    async with served() as (client, logic, node):
        say(client, 1, **part)
        await all_answered(client)
        assert [frame.error.code for frame in client.answers] == [code]
        assert not node.parts.under_way(client.connection.session_id, "g:x")
    assert not logic.items


async def test_what_is_under_way_is_known_until_it_has_its_outcome() -> None:
    async with served() as (client, logic, node):
        session = client.connection.session_id
        logic.gate.clear()
        say(client, 1, 1)
        say(client, 2, 2)
        assert node.parts.under_way(session, "g:x")
        assert not node.parts.under_way(session, "g:y")
        assert not node.parts.under_way("another", "g:x")
        logic.gate.set()
        await all_answered(client)
        assert not node.parts.under_way(session, "g:x")
