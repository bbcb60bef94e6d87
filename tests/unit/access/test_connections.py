"""The states of connections, as they are counted."""

from __future__ import annotations

from services.access.connection.connection import Connection
from services.access.connection.traffic import Traffic
from services.access.connections import STATES, count_states
from services.access.transport.tcp import TcpArrival, TcpServer, TcpStream
from tests.fuzz.port import LIMITS, NO_SOCKET, FakeNode, FakeStream, OpenDoor
from tidings_protocol import client_pb2
from tidings_protocol.wire.codec import PROTO
from tidings_protocol.wire.framing import framed


def silent(session: str = "s") -> TcpStream:
    """A connection that has not said hello."""
    arrival = TcpServer(FakeNode(session_id=session), OpenDoor(), Traffic("tcp"), LIMITS, NO_SOCKET).protocol()
    assert isinstance(arrival, TcpArrival)
    arrival.connection_made(FakeStream())
    return arrival.inner


def welcomed(session: str = "s") -> TcpStream:
    stream = silent(session)
    stream.data_received(framed(PROTO.encode_client(client_pb2.ClientFrame(id=1, hello=client_pb2.Hello(token="t")))))
    return stream


def connection_of(stream: TcpStream) -> Connection:
    assert stream._connection is not None
    return stream._connection


async def test_each_connection_is_in_one_state() -> None:
    slow = connection_of(welcomed())
    slow.block()
    counts, waiting = count_states([connection_of(silent()), connection_of(welcomed()), slow])
    assert counts == dict.fromkeys(STATES, 0) | {"awaiting_hello": 1, "live": 1, "paused": 1}
    assert waiting == slow.transport.waiting_bytes
