"""Sends: to whom they go, and how they wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import logic_pb2
from protos.tidings.internal.v1.common_pb2 import Special
from services.access.connection.connection import Connection
from services.access.requests.held_sends import POLL_S
from services.access.requests.sends import Sends
from services.access.send_rows import Outcome, SendRow, StoredSend
from services.common.clock import ManualClock
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client, open_client
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError
from tidings_protocol.wire.codec import JSON, PROTO, Codec


class Logic:
    """Notes what it is given with each call; those in `pending` are not decided yet."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.rows: list[SendRow] = []
        self.state = b""
        self.pending: set[str] = set()

    async def send_rows(self, rows: Sequence[SendRow]) -> Sequence[Outcome]:
        self.calls.append([row.client_id for row in rows])
        self.rows += rows
        return [None if row.client_id in self.pending else StoredSend(1, 0, 0, state=self.state) for row in rows]

    async def send(self, items: Sequence[logic_pb2.SendItem]) -> Sequence[logic_pb2.SendOutcome]:
        self.calls.append([item.client_id for item in items])
        return [
            logic_pb2.SendOutcome(seq=1, pending=item.client_id in self.pending, state=self.state) for item in items
        ]


class Parts:
    """Parts of streams that have no outcome yet, by (session, conversation)."""

    def __init__(self) -> None:
        self.places: set[tuple[str, str]] = set()

    @property
    def is_quiet(self) -> bool:
        return not self.places

    def under_way(self, session: str, conversation: str) -> bool:
        return (session, conversation) in self.places


class Node(FakeNode):
    """Takes sends and changes alone."""

    sends: Sends

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        take = self.sends.take if body == "send" else self.sends.take_change
        try:
            take(connection, frame)
        except TidingsError as error:
            connection.refuse(frame.id, body, error)


@asynccontextmanager
async def served(
    content_bytes_max: int = 1000, *, codec: Codec = PROTO, logic: Logic | None = None, parts: Parts | None = None
) -> AsyncIterator[tuple[Client, Logic]]:
    logic, node = logic or Logic(), Node()
    sizes = {"content_bytes_max": content_bytes_max, "lanes": 1, "capacity": 10, "batch_max": 10}
    parts = parts or Parts()
    async with Sends(cast("Any", logic), ManualClock(), answer_s=10.0, parts=parts, **sizes) as node.sends:
        yield open_client(node=node, codec=codec), logic


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


# ---- what is not plain


async def test_what_is_special_about_a_send_goes_to_logic_beside_it() -> None:
    async with served() as (client, logic):
        plain = client_pb2.Content(text="hi", headers={"a": "b"})
        special = client_pb2.Content(text="hi", mentions=["bob"], expire_after_s=5)
        for number, content in enumerate((plain, special), 1):
            client.say(id=number, send=client_pb2.Send(client_id=str(number), user="bob", content=content))
        await answered(client, 2)
    assert [row.special for row in logic.rows] == [None, Special(mentions=["bob"], expire_after_s=5)]


def change(client: Client, client_id: str, id: int, **act: Any) -> None:  # noqa: A002 - as in the frame
    fields: dict[str, Any] = {"client_id": client_id, "conversation": "d:ann|bob", "seq": 7} | act
    client.say(id=id, change=client_pb2.Change(**fields))


@pytest.mark.parametrize("codec", [PROTO, JSON])
async def test_a_change_goes_in_its_turn_and_is_answered_with_the_state_of_what_it_changed(codec: Codec) -> None:
    state = client_pb2.State(revision=1, edited_ms=5)
    async with served(codec=codec) as (client, logic):
        logic.state = state.SerializeToString()
        send(client, "a", 1, user="bob")
        change(client, "b", 2, edit=client_pb2.Content(text="ho", mentions=["bob"], reply_to=4))
        send(client, "c", 3, user="bob")
        assert await answered(client, 3) == [1, 2, 3]
        plain, changed, _ = client.answers
        assert (changed.sent.client_id, changed.sent.conversation, changed.sent.state) == ("b", "d:ann|bob", state)
        assert not plain.sent.HasField("state")
        assert client.connection.session.unanswered == 0
    assert logic.calls == [["a", "b", "c"]]
    row = logic.rows[1]
    assert client_pb2.Content.FromString(row.content) == client_pb2.Content(text="ho", mentions=["bob"])
    assert (row.sender, row.conversation, row.reply_to) == ("ann", "d:ann|bob", 0)
    assert row.special == Special(
        mentions=["bob"], change=client_pb2.Change(seq=7, edit=client_pb2.Content()).SerializeToString()
    )


async def test_a_change_that_took_no_place_has_a_state_and_no_message_id() -> None:
    class Gathers(Logic):
        async def send_rows(self, rows: Sequence[SendRow]) -> Sequence[Outcome]:
            return [StoredSend(0, 0, 0) for _ in rows]

    async with served(logic=Gathers()) as (client, _):
        change(client, "a", 1, unreact="+")
        await answered(client, 1)
        [answer] = client.answers
        assert (answer.sent.seq, answer.sent.message_id, answer.sent.HasField("state")) == (0, "", True)


async def test_a_change_waits_behind_a_send_of_its_conversation_that_is_not_decided() -> None:
    async with served() as (client, logic):
        logic.pending = {"a"}
        send(client, "a", 1, user="bob")
        await asked(logic)
        change(client, "b", 2, recall=client_pb2.Change.Recall())
        change(client, "c", 3, conversation="d:ann|cid", pin=True)
        assert await answered(client, 1) == [3]
        logic.pending.clear()
        assert await answered(client, 3) == [3, 1, 2]


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ({}, "BAD_REQUEST"),
        ({"seq": 0, "pin": True}, "BAD_REQUEST"),
        ({"conversation": "d:bob|ann", "pin": True}, "BAD_REQUEST"),
        ({"reacted": client_pb2.Change.Reacted()}, "BAD_REQUEST"),
        ({"edit": client_pb2.Content()}, "BAD_REQUEST"),
        ({"edit": client_pb2.Content(text="x" * 2000)}, "TOO_LARGE"),
        ({"finish": client_pb2.Change.Finish(text="x" * 2000)}, "TOO_LARGE"),
    ],
)
async def test_a_change_that_is_wrong_is_refused_and_goes_to_nobody(act: dict[str, Any], code: str) -> None:
    async with served() as (client, logic):
        change(client, "a", 1, **act)
        assert [(frame.id, frame.error.code) for frame in client.answers] == [(1, code)]
        assert client.connection.session.unanswered == 0
    assert logic.calls == []


def finish(client: Client, client_id: str, id: int, conversation: str = "g:x") -> None:  # noqa: A002
    change = client_pb2.Change(
        client_id=client_id, conversation=conversation, seq=1, finish=client_pb2.Change.Finish(parts=2)
    )
    client.say(id=id, change=change)


async def test_the_end_of_a_stream_waits_for_its_parts_and_holds_up_what_comes_behind_it() -> None:
    parts = Parts()
    async with served(parts=parts) as (client, logic):
        parts.places.add((client.connection.session_id, "g:x"))
        send(client, "before", 1, conversation="g:x")
        finish(client, "end", 2)
        send(client, "behind", 3, conversation="g:x")
        send(client, "elsewhere", 4, conversation="g:y")
        finish(client, "other", 5, "g:y")
        assert await answered(client, 3) == [1, 4, 5]
        await asyncio.sleep(3 * POLL_S)
        assert [frame.id for frame in client.answers] == [1, 4, 5]
        parts.places.clear()
        assert await answered(client, 5) == [1, 4, 5, 2, 3]
    assert [call for call in logic.calls if call] == [["before", "elsewhere", "other"], ["end", "behind"]]


async def test_parts_of_another_connection_hold_up_nothing() -> None:
    parts = Parts()
    parts.places.add(("another", "g:x"))
    async with served(parts=parts) as (client, _):
        finish(client, "end", 2)
        assert await answered(client, 1) == [2]
