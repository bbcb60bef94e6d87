"""What a batch adds up to for each connection: frames, their order and size, and who gets none."""

from __future__ import annotations

import pytest

from services.access.delivery import push_batch
from services.access.delivery.push_batch import PushBatch
from services.access.session.session import Phase
from services.common.telemetry import metrics
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client, open_client
from tidings_protocol import client_pb2
from tidings_protocol.wire.body import EncodedBody
from tidings_protocol.wire.codec import JSON, PROTO

NOW = 1000.0


def message(seq: int, text: str = "") -> EncodedBody:
    content = client_pb2.Content(text=text)
    return EncodedBody.of(client_pb2.Message(conversation="d:ann|bob", seq=seq, sender="bob", content=content))


def delivered(client: Client) -> list[list[tuple[int, int]]]:
    """The number and the seq of each entry, by frame."""
    frames = [frame.deliver.entries for frame in client.answers if frame.HasField("deliver")]
    return [[(entry.number, entry.message.seq) for entry in entries] for entries in frames]


def pushed(batch: PushBatch) -> int:
    shared: dict[tuple[object, ...], bytes] = {}
    written = sum(batch.push_entries(connection, entries, shared, NOW) for connection, entries in batch.entries.items())
    for connection, body in batch.others:
        batch.push_other(connection, body, shared, NOW)
    return written


def test_entries_of_a_connection_go_out_in_one_frame_in_inbox_order() -> None:
    client, batch = open_client(), PushBatch()
    for number, seq in ((12, 3), (10, 1), (11, 2)):
        batch.add(client.connection, number, message(seq))
    assert (batch.reached, batch.addressed) == (True, 3)
    assert pushed(batch) == 3
    assert delivered(client) == [[(10, 1), (11, 2), (12, 3)]]


def test_a_frame_is_not_larger_than_a_frame_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_batch, "FRAME_BYTES", 300)
    client, batch = open_client(), PushBatch()
    for number in (1, 2, 3):
        batch.add(client.connection, number, message(number, "x" * 100))
    batch.add(client.connection, 4, message(4, "x" * 1000))
    assert pushed(batch) == 4
    assert delivered(client) == [[(1, 1), (2, 2)], [(3, 3)], [(4, 4)]], "one that is larger alone goes alone"


def test_a_frame_without_numbers_is_built_once_for_all_connections_of_a_codec() -> None:
    clients = [open_client(f"u{number}") for number in range(3)] + [open_client("json", codec=JSON)]
    for client in clients[1:3]:
        client.wire.traffic = clients[0].wire.traffic
    batch, body = PushBatch(), message(1)
    batch.add_readers([client.connection for client in clients], "session of u1", body)
    assert pushed(batch) == 3
    assert [delivered(client) for client in clients] == [[[(0, 1)]], [], [[(0, 1)]], [[(0, 1)]]]
    assert clients[0].wire.frames[0] is clients[2].wire.frames[0]


def test_what_is_no_message_goes_out_by_itself() -> None:
    client, batch = open_client(), PushBatch()
    batch.add(client.connection, 0, EncodedBody.of(client_pb2.Receipt(conversation="d:ann|bob")))
    batch.add_readers([client.connection], "", EncodedBody.of(client_pb2.Signal(name="typing")))
    assert pushed(batch) == 0
    assert [frame.WhichOneof("body") for frame in client.answers] == ["receipt", "signal"]


def test_a_connection_that_is_paused_gets_nothing_and_its_misses_are_noted() -> None:
    client, batch = open_client(), PushBatch()
    client.connection.block()
    client.wire.frames.clear()
    batch.add(client.connection, 12, message(3))
    assert pushed(batch) == 0
    assert client.wire.frames == []
    assert client.connection.delivery.paused


def test_a_session_that_is_being_stored_keeps_its_entries_and_one_that_is_closing_gets_none() -> None:
    class Slow(FakeNode):
        def store(self, connection: object) -> None: ...

    opening, closing, batch = Client(Slow()), open_client(), PushBatch()
    opening.say(hello=client_pb2.Hello(token="t", device="d"))
    assert opening.connection.session.phase is Phase.OPENING
    closing.connection.lost()
    batch.add(opening.connection, 5, message(1))
    batch.add(closing.connection, 5, message(1))
    assert batch.entries == {}
    opening.connection.open(client_pb2.ServerFrame(welcome=client_pb2.Welcome(user="ann", inbox_head=4)))
    assert delivered(opening) == [[(5, 1)]]


def test_what_cannot_be_read_is_dropped_once_and_its_neighbours_go_out() -> None:
    before = metrics.PUSHES_UNREADABLE._value.get()
    batch, bad = PushBatch(), EncodedBody(client_pb2.Message, b"\xff\xff")
    clients = [open_client("ann", codec=JSON), open_client("bob", codec=JSON)]
    for client in clients:
        batch.add(client.connection, 1, bad)
        batch.add(client.connection, 2, message(2))
    assert pushed(batch) == 2
    assert [delivered(client) for client in clients] == [[[(2, 2)]]] * 2
    assert metrics.PUSHES_UNREADABLE._value.get() == before + 1


def test_frames_are_counted_by_what_they_are() -> None:
    client, batch = open_client(codec=PROTO), PushBatch()
    batch.add(client.connection, 1, message(1))
    batch.add(client.connection, 0, EncodedBody.of(client_pb2.Receipt(conversation="d:ann|bob")))
    pushed(batch)
    counted = client.wire.traffic.frames_out
    assert (counted["deliver"], counted["receipt"]) == (1, 1)
