"""From pushes to connections: what cannot be read harms nobody else, and a large batch lets others have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from protos.tidings.internal.v1 import delivery_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connection.session import Phase
from services.access.connection.traffic import Traffic
from services.access.delivery.delivery import TURN, Delivery
from services.access.placement.placement import TransportName
from services.common.clock import SystemClock
from services.common.telemetry import metrics
from tests.fuzz.port import FakeNode
from tidings_protocol import client_pb2
from tidings_protocol.ids import BROADCAST
from tidings_protocol.wire.codec import JSON, PROTO, Codec

Push = delivery_pb2.Push


class Wire:
    """A transport that notes what is written, and fails on command."""

    name: TransportName = "tcp"
    address = "192.0.2.7"
    waiting_bytes = 0

    def __init__(self) -> None:
        self.traffic = Traffic("tcp")
        self.frames: list[bytes] = []
        self.fails = self.aborted = False

    def wrap(self, frame: bytes) -> bytes:
        return frame

    def write(self, data: bytes) -> None:
        if self.fails:
            raise RuntimeError("as asked")
        self.frames.append(data)

    def probe(self) -> bool:
        return False

    def admit(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self, code: int, reason: str) -> None: ...

    def abort(self) -> None:
        self.aborted = True


class Here:
    """A node's connections and what delivers to them."""

    def __init__(self) -> None:
        self.hub: Hub[Connection] = Hub()
        self.clock = SystemClock()
        self.delivery = Delivery(self.hub, self.clock, lambda _: None)

    def connect(self, user: str, codec: Codec = PROTO) -> Wire:
        wire = Wire()
        connection = Connection(FakeNode(user, f"session of {user}"), wire, codec)
        hello = client_pb2.ClientFrame(id=1, hello=client_pb2.Hello(token="t", device="d"))
        connection.receive(codec.encode_client(hello))
        assert connection.session.phase is Phase.OPEN
        wire.frames.clear()
        self.hub.add(user, connection)
        return wire


def message(seq: int, users: Sequence[str] = (), *, conversation: str = "") -> delivery_pb2.Push:
    body = client_pb2.Message(conversation="d:ann|bob", seq=seq, sender="bob").SerializeToString()
    numbers = [seq] * len(users)
    return Push(kind=Push.MESSAGE, body=body, users=users, numbers=numbers, conversation=conversation)


def seqs(wire: Wire, codec: Codec) -> list[int]:
    frames = [codec.decode_server(frame) for frame in wire.frames]
    return [entry.message.seq for frame in frames for entry in frame.deliver.entries]


def unreadable() -> float:
    return float(metrics.PUSHES_UNREADABLE._value.get())


@pytest.mark.parametrize("kind", [Push.MESSAGE, Push.RECEIPT, Push.SIGNAL, Push.GROUP_INFO])
@pytest.mark.parametrize("where", ["user", "everybody"])
async def test_a_push_that_cannot_be_read_is_dropped_and_its_neighbours_go_out(
    kind: Push.Kind.ValueType, where: str
) -> None:
    here = Here()
    ann = here.connect("ann", JSON)
    users = ["ann"] if where == "user" else []
    conversation = BROADCAST if where == "everybody" else ""
    bad = Push(kind=kind, body=b"\xff\xff", users=users, conversation=conversation)
    before = unreadable()
    await here.delivery.deliver([message(1, ["ann"]), bad, message(2, ["ann"])])
    assert seqs(ann, JSON) == [1, 2]
    assert unreadable() == before + 1


async def test_what_cannot_be_read_is_counted_once_however_many_get_it() -> None:
    here = Here()
    wires = [here.connect(f"user{number}", JSON) for number in range(5)]
    before = unreadable()
    await here.delivery.deliver([Push(kind=Push.MESSAGE, body=b"\xff\xff", conversation=BROADCAST)])
    assert unreadable() == before + 1
    assert not any(wire.frames or wire.aborted for wire in wires)


async def test_a_push_with_too_few_numbers_is_dropped() -> None:
    here = Here()
    ann, bob = here.connect("ann"), here.connect("bob")
    short = message(1, ["ann", "bob"])
    del short.numbers[1:]
    before = unreadable()
    await here.delivery.deliver([short, message(2, ["bob"])])
    assert (seqs(ann, PROTO), seqs(bob, PROTO)) == ([], [2])
    assert unreadable() == before + 1


async def test_a_defect_with_one_connection_ends_that_one() -> None:
    here = Here()
    ann, bob = here.connect("ann"), here.connect("bob")
    ann.fails = True
    await here.delivery.deliver([message(1, ["ann", "bob"]), Push(kind=Push.RECEIPT, users=["ann", "bob"])])
    assert ann.aborted
    assert seqs(bob, PROTO) == [1]
    assert (len(bob.frames), bob.aborted) == (2, False)


async def turns_during(work: asyncio.Future[None] | asyncio.Task[None]) -> int:
    """How often the event loop came round meanwhile."""
    turns = 0
    while not work.done():
        turns += 1
        await asyncio.sleep(0)
    await work
    return turns


async def test_a_notice_to_all_lets_others_have_their_turn_while_it_is_addressed_and_written() -> None:
    here = Here()
    for number in range(5 * TURN):
        here.connect(f"user{number}")
    notice = message(1, conversation=BROADCAST)
    assert await turns_during(asyncio.create_task(here.delivery.deliver([notice]))) >= 10


async def test_many_pushes_to_a_few_let_others_have_their_turn() -> None:
    here = Here()
    here.connect("ann")
    pushes = [message(number, ["ann"]) for number in range(1, 5 * TURN)]
    assert await turns_during(asyncio.create_task(here.delivery.deliver(pushes))) >= 5
