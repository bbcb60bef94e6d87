"""Requests and their answers, on one connection: whatever comes back, each is answered, and none stays under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from opentelemetry.trace import StatusCode

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.session import Phase
from services.access.requests.requests import Requests
from services.common.clock import ManualClock
from services.common.telemetry import tracing
from tests.fuzz.port import FakeNode
from tests.traces import ended, recording
from tests.unit.access.test_gathered_answers import Wire
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError
from tidings_protocol.wire.codec import JSON, PROTO, Codec

Frame = client_pb2.ClientFrame


class CannedLogic:
    """Answers everything with what it was given."""

    def __init__(self) -> None:
        self.frame = client_pb2.ServerFrame(ok=client_pb2.Ok()).SerializeToString()
        self.sent: list[logic_pb2.SendItem] = []
        self.handled: list[logic_pb2.HandleItem] = []

    async def send(self, items: Sequence[logic_pb2.SendItem]) -> Sequence[logic_pb2.SendOutcome | TidingsError]:
        self.sent += items
        return [logic_pb2.SendOutcome(seq=len(self.sent)) for _ in items]

    async def signal(self, items: Sequence[logic_pb2.SignalItem]) -> Sequence[logic_pb2.SignalOutcome | TidingsError]:
        return [logic_pb2.SignalOutcome() for _ in items]

    async def handle(
        self, items: Sequence[logic_pb2.HandleItem], wanted: object = None
    ) -> Sequence[logic_pb2.HandleOutcome | TidingsError]:
        self.handled += items
        return [logic_pb2.HandleOutcome(frame=self.frame) for _ in items]


class Nobody:
    """Heads, acks and watches that nobody asks."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Node(FakeNode):
    requests: Requests

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        self.requests.take(connection, frame, body)

    def flush_later(self, connection: Connection) -> None:
        connection.flush()


class PlainWire(Wire):
    def wrap(self, frame: bytes) -> bytes:
        return frame


class Client:
    """One connection that is open, and what it was answered."""

    def __init__(self, node: Node, codec: Codec) -> None:
        self.wire, self.codec = PlainWire(), codec
        self.connection = Connection(node, self.wire, codec)
        self.say(hello=client_pb2.Hello(token="t", device="d"))
        assert self.connection.session.phase is Phase.OPEN
        self.wire.written.clear()

    def say(self, id: int = 0, **body: Any) -> None:  # noqa: A002 - as the frame has it
        self.connection.receive(self.codec.encode_client(Frame(id=id, **body)))

    @property
    def answers(self) -> list[client_pb2.ServerFrame]:
        return [self.codec.decode_server(data) for data in self.wire.written if data not in {b"closed", b"aborted"}]

    @property
    def unanswered(self) -> int:
        return self.connection.session.unanswered

    async def answered(self) -> None:
        """All that was asked is done with."""
        async with asyncio.timeout(5):
            while self.unanswered or self.connection.session.held:  # noqa: ASYNC110 - plain values of the connection
                await asyncio.sleep(0)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Node, CannedLogic]]:
    logic, node, nobody = CannedLogic(), Node(), cast("Any", Nobody())
    requests = Requests(
        cast("Any", logic),
        nobody,
        nobody,
        nobody,
        ManualClock(),
        content_bytes_max=1000,
        send_lanes=1,
        request_lanes=1,
        capacity=100,
        send_answer_s=1.0,
        send_batch_max=10,
        request_batch_max=10,
    )
    node.requests = requests
    async with requests:
        yield node, logic


def page_with(message: bytes) -> bytes:
    """A page as a logic node of another version may make it."""
    entry = b"\x12" + bytes([len(message)]) + message
    page = b"\x0a" + bytes([len(entry)]) + entry
    return b"\x72" + bytes([len(page)]) + page


POISON = page_with(b"\x32" + bytes([204, 1]) + b"\x0a\x02hi" + b"\x7b" * 98 + b"\x7c" * 98)[:-1]


async def test_a_content_is_stored_without_what_no_version_knows() -> None:
    async with served() as (node, logic):
        client = Client(node, PROTO)
        content = client_pb2.Content.FromString(b"\x0a\x02hi" + b"\x7b" * 90 + b"\x7c" * 90)
        client.say(id=5, send=client_pb2.Send(client_id="c", user="bob", content=content))
    assert [item.content for item in logic.sent] == [b"\x0a\x02hi"]
    assert [frame.sent.seq for frame in client.answers] == [1]


@pytest.mark.parametrize("body", ["sync", "history", "conversations", "presence", "group"])
@pytest.mark.parametrize("codec", [JSON, PROTO], ids=["JSON", "protobuf"])
async def test_an_answer_that_cannot_be_read_is_one_requests_error(codec: Codec, body: str) -> None:
    requests: dict[str, Any] = {
        "sync": client_pb2.Sync(),
        "history": client_pb2.History(conversation="d:ann|bob"),
        "conversations": client_pb2.ListConversations(),
        "presence": client_pb2.PresenceRequest(users=["bob"]),
        "group": client_pb2.GroupRequest(info=client_pb2.GroupRequest.Info(conversation="g:x")),
    }
    async with served() as (node, logic):
        client = Client(node, codec)
        logic.frame = b"\x0a\xff\xff"
        for number in range(1, 10):
            client.say(id=number, **{body: requests[body]})
        await client.answered()
    if codec is JSON or body == "presence":
        assert [(frame.id, frame.error.code) for frame in client.answers] == [(n, "INTERNAL") for n in range(1, 10)]
    assert client.unanswered == 0
    assert client.connection.session.phase is Phase.OPEN


async def test_a_page_that_nests_too_deeply_leaves_no_request_behind() -> None:
    async with served() as (node, logic):
        client = Client(node, JSON)
        logic.frame = POISON
        for number in range(1, 10):
            client.say(id=number, sync=client_pb2.Sync())
        await client.answered()
    assert [(frame.id, frame.error.code) for frame in client.answers] == [(n, "INTERNAL") for n in range(1, 10)]
    assert client.unanswered == 0


async def test_a_connection_that_cannot_be_written_to_ends_and_its_neighbours_are_answered() -> None:
    async with served() as (node, _):
        broken, sound = Client(node, PROTO), Client(node, PROTO)
        broken.say(id=1, send=client_pb2.Send(client_id="c", user="bob", content=client_pb2.Content(text="a")))
        broken.say(id=2, sync=client_pb2.Sync())
        broken.say(id=3, signal=client_pb2.Signal(user="bob", name="typing"))
        sound.say(id=4, sync=client_pb2.Sync())
        broken.wire.fails = True
    assert "aborted" in [data.decode() for data in broken.wire.written if data == b"aborted"]
    assert [frame.id for frame in sound.answers] == [4]


async def test_a_change_of_a_group_is_traced_and_reads_are_not() -> None:
    group = client_pb2.GroupRequest
    with recording() as exporter:
        async with served() as (node, logic):
            client = Client(node, PROTO)
            client.say(id=1, group=group(leave=group.Leave(conversation="g:x")))
            client.say(id=2, group=group(info=group.Info(conversation="g:x")))
            client.say(id=3, sync=client_pb2.Sync())
            await client.answered()
            refusal = client_pb2.Error(code="FORBIDDEN", message="no")
            logic.frame = client_pb2.ServerFrame(error=refusal).SerializeToString()
            client.say(id=4, group=group(create=group.Create(name="Tea")))
            await client.answered()
        spans = ended(exporter)
    roots = [span for span in spans if span.name == "group"]
    assert [(span.status.status_code, span.status.description) for span in roots] == [
        (StatusCode.UNSET, None),
        (StatusCode.ERROR, "forbidden"),
    ]
    acts = [dict(span.attributes or {}) for span in roots]
    assert [(each["tidings.act"], each.get("tidings.conversation")) for each in acts] == [
        ("leave", "g:x"),
        ("create", None),
    ]
    traces = {item.op: tracing.id_of(item.trace) for item in logic.handled if item.trace}
    assert set(traces.values()) == {f"{span.context.trace_id:032x}" for span in roots if span.context}
    assert len(traces) == 2
    assert [span.name for span in spans].count("access request") == 2
