"""What goes out: answers that come several at once go together, in order, and nudges to those who lack something."""

from __future__ import annotations

from services.access.connection.connection import Connection
from services.access.connection.outgoing import Outgoing
from services.access.connection.ports import TransportName
from services.access.connection.traffic import Traffic
from services.access.session.events import EndRequested
from services.access.session.session import Phase
from tests.support.network.port import FakeNode
from tidings_protocol import client_pb2, close
from tidings_protocol.wire.body import EncodedBody
from tidings_protocol.wire.codec import PROTO


class Wire:
    """A transport that notes each write and the end."""

    name: TransportName = "tcp"
    waiting_bytes = 0
    address = ""

    def __init__(self) -> None:
        self.traffic = Traffic("tcp")
        self.written: list[bytes] = []
        self.fails = False

    def admit(self) -> None: ...

    def wrap(self, frame: bytes) -> bytes:
        return b"<" + frame + b">"

    def write(self, data: bytes) -> None:
        if self.fails:
            raise RuntimeError("as asked")
        self.written.append(data)

    def probe(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        self.written.append(b"closed")

    def abort(self) -> None:
        self.written.append(b"aborted")


class Node(FakeNode):
    """Notes who is to be flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.later: list[Connection] = []

    def flush_later(self, connection: Connection) -> None:
        self.later.append(connection)


class Hesitant(Node):
    """Stores no session."""

    def store(self, connection: Connection) -> None: ...


def open_connection() -> tuple[Connection, Wire, Node]:
    wire, node = Wire(), Node()
    connection = Connection(node, wire, PROTO)
    connection.receive(PROTO.encode_client(client_pb2.ClientFrame(id=1, hello=client_pb2.Hello(token="t", device="d"))))
    assert connection.session.phase is Phase.OPEN
    wire.written.clear()
    return connection, wire, node


def test_answers_of_one_turn_are_one_write() -> None:
    connection, wire, node = open_connection()
    for answer in (b"a", b"b", b"c"):
        connection.send_gathered(answer, "sent")
    assert (wire.written, node.later) == ([], [connection]), "it is noted once"
    connection.flush()
    assert wire.written == [b"<a><b><c>"]
    connection.flush()
    assert wire.written == [b"<a><b><c>"], "nothing is written twice"


def test_what_is_written_meanwhile_comes_after_them() -> None:
    connection, wire, _ = open_connection()
    connection.send_gathered(b"a", "sent")
    connection.send(b"b", "sent")
    connection.send_gathered(b"c", "sent")
    assert connection.push(b"[push]", 0, 1000.0, "deliver")
    connection.flush()
    assert wire.written == [b"<a><b>", b"<c>[push]"]


def test_a_goodbye_comes_after_them() -> None:
    connection, wire, _ = open_connection()
    connection.send_gathered(b"a", "sent")
    connection.handle(EndRequested(close.INTERNAL))
    connection.flush()
    goodbye, end = wire.written
    assert goodbye.startswith(b"<a><")
    assert end == b"closed"
    connection.send_gathered(b"b", "sent")
    connection.flush()
    assert len(wire.written) == 2, "after the goodbye nothing is written"


def test_who_has_left_is_written_nothing() -> None:
    connection, wire, _ = open_connection()
    connection.send_gathered(b"a", "sent")
    connection.lost()
    connection.flush()
    assert b"<a>" not in wire.written


def test_a_write_that_fails_ends_the_connection_and_nobody_else_notices() -> None:
    connection, wire, _ = open_connection()
    connection.send_gathered(b"a", "sent")
    wire.fails = True
    connection.flush()
    assert wire.written == [b"aborted"]


def lagging(wire: Wire) -> list[tuple[int, bool]]:
    """The head and whether it is a pause, of each `lagging` that was written."""
    frames = [PROTO.decode_server(data[1:-1]) for data in wire.written]
    return [(frame.lagging.inbox_head, frame.lagging.paused) for frame in frames if frame.HasField("lagging")]


def test_who_lacks_something_is_nudged_and_who_is_paused_is_told_once() -> None:
    connection, wire, _ = open_connection()
    way_out: Outgoing = connection
    way_out.nudge(7, "ring")
    connection.block()
    way_out.nudge(9, "ring")
    assert not way_out.push(b"[push]", 10, 1000.0, "deliver")
    assert lagging(wire) == [(7, False), (7, True)]


def test_what_was_pushed_before_the_welcome_goes_out_behind_it() -> None:
    wire, node = Wire(), Hesitant()
    connection = Connection(node, wire, PROTO)
    connection.receive(PROTO.encode_client(client_pb2.ClientFrame(id=1, hello=client_pb2.Hello(token="t", device="d"))))
    connection.keep_early(5, EncodedBody.of(client_pb2.Message(message_id="m")))
    connection.note_left("g:x")
    assert (wire.written, set(connection.left_groups)) == ([], {"g:x"})
    connection.open(client_pb2.ServerFrame(welcome=client_pb2.Welcome(inbox_head=4)))
    frames = [PROTO.decode_server(data[1:-1]) for data in wire.written]
    assert [frame.WhichOneof("body") for frame in frames] == ["welcome", "deliver"]
    assert [entry.number for entry in frames[1].deliver.entries] == [5]
    assert not connection.left_groups
