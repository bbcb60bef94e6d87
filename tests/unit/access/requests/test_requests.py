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
from services.access.requests.requests import RequestOptions, Requests
from services.access.send_rows import Outcome, SendRow, StoredSend
from services.access.session.session import Phase
from services.common.clock import ManualClock
from services.common.rpc.faults import to_fault
from services.common.telemetry import tracing
from tests.support.device.requests import empty_request
from tests.support.network.port import FakeNode
from tests.support.traces import ended, recording
from tests.unit.access import fakes
from tidings_protocol import client_pb2
from tidings_protocol.errors import Forbidden, TidingsError
from tidings_protocol.operations import OPERATIONS, Handler
from tidings_protocol.wire.codec import JSON, PROTO, Codec

Frame = client_pb2.ClientFrame
PASSED_ON = [name for name, operation in OPERATIONS.items() if operation.handler is Handler.LOGIC]


class CannedLogic:
    """Answers everything with what it was given."""

    def __init__(self) -> None:
        self.frame = client_pb2.ServerFrame(ok=client_pb2.Ok()).SerializeToString()
        self.sent: list[SendRow] = []
        self.handled: list[logic_pb2.HandleItem] = []

    async def send_rows(self, rows: Sequence[SendRow]) -> Sequence[Outcome]:
        self.sent += rows
        return [StoredSend(len(self.sent), 0, 0) for _ in rows]

    async def send(self, items: Sequence[logic_pb2.SendItem]) -> Sequence[logic_pb2.SendOutcome | TidingsError]:
        raise AssertionError("only what was not decided is asked about again")

    async def stream_parts(
        self, items: Sequence[logic_pb2.StreamPartItem]
    ) -> Sequence[logic_pb2.StreamPartOutcome | TidingsError]:
        return [logic_pb2.StreamPartOutcome() for _ in items]

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
    def flush_later(self, connection: Connection) -> None:
        connection.flush()


class Client(fakes.Client):
    """One connection that is open, and what it was answered."""

    def __init__(self, node: Node, codec: Codec) -> None:
        super().__init__(node, codec)
        self.say(hello=client_pb2.Hello(token="t", device="d"))
        assert self.connection.session.phase is Phase.OPEN
        self.wire.frames.clear()

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
        nobody,
        ManualClock(),
        RequestOptions(
            content_bytes_max=1000,
            send_lanes=1,
            request_lanes=1,
            capacity=100,
            send_answer_s=1.0,
            send_batch_max=10,
            request_batch_max=10,
        ),
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


@pytest.mark.parametrize("name", PASSED_ON)
@pytest.mark.parametrize("codec", [JSON, PROTO], ids=["JSON", "protobuf"])
async def test_an_answer_that_cannot_be_read_is_one_requests_error(codec: Codec, name: str) -> None:
    body = OPERATIONS[name].body
    async with served() as (node, logic):
        client = Client(node, codec)
        logic.frame = b"\x0a\xff\xff"
        for number in range(1, 10):
            client.say(id=number, **{body: getattr(empty_request(OPERATIONS[name]), body)})
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
    assert broken.wire.aborted
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


# ---- which way each kind goes


class Noting:
    """Heads, acks and watches: what each was asked."""

    def __init__(self) -> None:
        self.acked: list[int] = []
        self.pinged: list[int] = []
        self.watched: list[list[str]] = []
        self.learned: list[tuple[client_pb2.PresenceList, list[str]]] = []

    def on_ack(self, connection: Connection, number: int) -> None:
        self.acked.append(number)

    def on_ping(self, connection: Connection, request_id: int) -> None:
        self.pinged.append(request_id)

    def begin(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        self.watched.append(list(frame.presence.users or frame.profile.get.users))

    def learn(self, answer: client_pb2.PresenceList, asker: Connection, hiding: Sequence[str]) -> None:
        self.learned.append((answer, list(hiding)))


class SlowLogic(CannedLogic):
    """Its calls are held up on command; with each it notes what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.calls: list[list[str]] = []
        self.outcome = logic_pb2.SignalOutcome()
        self.pending: set[str] = set()
        self.hiding: list[str] = []

    async def send_rows(self, rows: Sequence[SendRow]) -> Sequence[Outcome]:
        self.calls.append([row.client_id for row in rows])
        await self.gate.wait()
        return [None if row.client_id in self.pending else StoredSend(1, 0, 0) for row in rows]

    async def send(self, items: Sequence[logic_pb2.SendItem]) -> Sequence[logic_pb2.SendOutcome | TidingsError]:
        self.calls.append([item.client_id for item in items])
        await self.gate.wait()
        return [logic_pb2.SendOutcome(seq=1, pending=item.client_id in self.pending) for item in items]

    async def stream_parts(
        self, items: Sequence[logic_pb2.StreamPartItem]
    ) -> Sequence[logic_pb2.StreamPartOutcome | TidingsError]:
        return [logic_pb2.StreamPartOutcome() for _ in items]

    async def signal(self, items: Sequence[logic_pb2.SignalItem]) -> Sequence[logic_pb2.SignalOutcome | TidingsError]:
        self.calls.append([item.name for item in items])
        return [self.outcome for _ in items]

    async def handle(
        self, items: Sequence[logic_pb2.HandleItem], wanted: Any = None
    ) -> Sequence[logic_pb2.HandleOutcome | TidingsError]:
        self.calls.append([Frame.FromString(item.frame).WhichOneof("body") or "" for item in items])
        await self.gate.wait()
        return [logic_pb2.HandleOutcome(frame=self.frame, hiding=self.hiding) for _ in items]


@asynccontextmanager
async def slow(capacity: int = 100) -> AsyncIterator[tuple[Node, SlowLogic, Noting]]:
    logic, node, noting = SlowLogic(), Node(), Noting()
    options = RequestOptions(
        content_bytes_max=1000,
        send_lanes=1,
        request_lanes=1,
        capacity=capacity,
        send_answer_s=100.0,
        send_batch_max=10,
        request_batch_max=10,
    )
    one = cast("Any", noting)
    node.requests = requests = Requests(cast("Any", logic), one, one, one, one, ManualClock(), options)
    async with requests:
        yield node, logic, noting
        logic.gate.set()


def send(client: Client, client_id: str, id: int = 1, **to: str) -> None:  # noqa: A002 - as the frame has it
    content = client_pb2.Content(text="hi")
    client.say(id=id, send=client_pb2.Send(client_id=client_id, content=content, **(to or {"user": "bob"})))


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_acknowledgements_and_pings_do_not_wait_in_the_lanes() -> None:
    async with slow() as (node, logic, noting):
        client = Client(node, PROTO)
        client.say(ack=client_pb2.Ack(number=4))
        client.say(id=6, ping=client_pb2.Ping())
        assert (noting.acked, noting.pinged, logic.calls) == ([4], [6], [])


async def test_a_request_of_presence_is_watched_before_it_goes_to_logic_and_its_answer_is_learned() -> None:
    async with slow() as (node, logic, noting):
        client = Client(node, PROTO)
        client.say(id=6, presence=client_pb2.PresenceRequest(users=["bob"], watch=True))
        assert (noting.watched, logic.calls) == ([["bob"]], [])
        online = client_pb2.PresenceList(users=[client_pb2.Presence(user="bob", online=True)])
        logic.frame = client_pb2.ServerFrame(presence_list=online).SerializeToString()
        logic.hiding = ["cid"]
        logic.gate.set()
        await client.answered()
    assert noting.learned == [(online, ["cid"])]
    assert [frame.id for frame in client.answers] == [6]


async def test_a_request_of_profiles_is_watched_before_it_goes_to_logic() -> None:
    async with slow() as (node, logic, noting):
        client = Client(node, PROTO)
        get = client_pb2.ProfileRequest.Get(users=["bob"], watch=True)
        client.say(id=6, profile=client_pb2.ProfileRequest(get=get))
        assert (noting.watched, logic.calls) == ([["bob"]], [])
        logic.frame = client_pb2.ServerFrame(profile_list=client_pb2.ProfileList()).SerializeToString()
        logic.gate.set()
        await client.answered()
    assert [frame.id for frame in client.answers] == [6]


@pytest.mark.parametrize("body", ["send", "signal"])
async def test_a_request_that_names_no_addressee_is_told_what_it_needs(body: str) -> None:
    async with slow() as (node, logic, _):
        client = Client(node, PROTO)
        if body == "send":
            client.say(id=6, send=client_pb2.Send(client_id="c", content=client_pb2.Content(text="hi")))
        else:
            client.say(id=6, signal=client_pb2.Signal(name="typing"))
        (answer,) = client.answers
        assert (answer.id, answer.error.code) == (6, "BAD_REQUEST")
        assert answer.error.message == (
            f"`{body}` goes to nobody: give it a `user` for a direct chat, or a `conversation`"
        )
    assert logic.calls == []


async def test_sends_of_a_conversation_go_in_their_order_and_behind_one_that_is_held() -> None:
    async with slow() as (node, logic, _):
        client = Client(node, PROTO)
        logic.pending = {"a"}
        logic.gate.set()
        send(client, "a", 1)
        await turns()
        send(client, "b", 2)
        send(client, "c", 3, user="cid")
        await turns()
        assert [frame.id for frame in client.answers] == [3], "the other conversation does not wait"
        logic.pending.clear()
        await client.answered()
    assert [frame.id for frame in client.answers] == [3, 1, 2]
    assert logic.calls[-1] == ["a", "b"]


async def test_signals_are_not_answered_unless_they_are_refused() -> None:
    async with slow() as (node, logic, _):
        client = Client(node, PROTO)
        client.say(id=6, signal=client_pb2.Signal(user="bob", name="typing"))
        await client.answered()
        assert client.answers == []
        logic.outcome = logic_pb2.SignalOutcome(fault=to_fault(Forbidden("not a member")))
        client.say(id=7, signal=client_pb2.Signal(user="bob", name="typing"))
        await client.answered()
    assert [(frame.id, frame.error.code) for frame in client.answers] == [(7, "FORBIDDEN")]
    assert logic.calls == [["typing"], ["typing"]]


async def test_a_request_that_finds_no_room_is_refused_and_counts_as_answered() -> None:
    async with slow(capacity=1) as (node, _, _):
        client = Client(node, PROTO)
        for number in (1, 2):
            client.say(id=number, sync=client_pb2.Sync())
        assert [(frame.id, frame.error.code) for frame in client.answers] == [(2, "OVERLOADED")]
        assert client.unanswered == 1


async def test_what_a_connection_asked_for_is_not_begun_when_it_is_gone_but_reads_and_sends_are() -> None:
    async with slow() as (node, logic, _):
        client = Client(node, PROTO)
        client.say(id=1, group=client_pb2.GroupRequest(leave=client_pb2.GroupRequest.Leave(conversation="g:x")))
        client.say(id=2, read=client_pb2.Read(conversation="d:ann|bob", seq=1))
        send(client, "c", 3)
        client.connection.lost()
        await turns()
        assert sorted(logic.calls) == [["c"], ["read"]]


GROUP = client_pb2.GroupRequest


@pytest.mark.parametrize(
    ("request_", "error", "counts"),
    [
        (GROUP(join=GROUP.Join(conversation="g:x", invite="guess")), {"code": "NOT_FOUND"}, True),
        (GROUP(info=GROUP.Info(conversation="g:x", invite="guess")), {"code": "NOT_FOUND"}, True),
        (GROUP(join=GROUP.Join(conversation="g:x")), {"code": "NOT_FOUND"}, False),
        (GROUP(join=GROUP.Join(conversation="g:x", invite="i")), {"code": "FORBIDDEN"}, True),
        (GROUP(join=GROUP.Join(conversation="g:x", invite="i")), {"code": "FORBIDDEN", "retry_after_ms": 5}, False),
    ],
)
async def test_a_guessed_invite_counts_as_refused_and_what_comes_too_early_does_not(
    request_: client_pb2.GroupRequest, error: dict[str, Any], counts: bool
) -> None:
    async with served() as (node, logic):
        logic.frame = client_pb2.ServerFrame(error=client_pb2.Error(**error)).SerializeToString()
        client = Client(node, PROTO)
        for number in range(1, 62):
            client.say(id=number, group=request_)
            await client.answered()
        goodbyes = [frame.goodbye.code for frame in client.answers if frame.HasField("goodbye")]
    assert goodbyes == ([4006] if counts else [])
