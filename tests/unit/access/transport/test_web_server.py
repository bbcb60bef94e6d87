"""The WebSocket port: whom it upgrades, and what it says to the others."""

from __future__ import annotations

import pytest

from services.access.connection.traffic import Traffic
from services.access.transport.web_arrival import WebArrival
from services.access.transport.web_server import Busy, WebSocketServer
from tests.support.network.port import LIMITS, NO_SOCKET, FakeNode, FakeStream, OpenDoor, seemingly_running
from tidings_protocol import client_pb2
from tidings_protocol.wire.codec import PROTO

UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: tidings.v1.proto\r\n\r\n"
)
HELLO = PROTO.encode_client(client_pb2.ClientFrame(id=1, hello=client_pb2.Hello(token="t", device="d")))


def masked(first: int, payload: bytes) -> bytes:
    """A client's frame, with a mask of zeros."""
    assert len(payload) < 126
    return bytes((first, 0x80 | len(payload))) + bytes(4) + payload


def server(door: OpenDoor | None = None) -> WebSocketServer:
    return WebSocketServer(FakeNode(), door or OpenDoor(), Traffic("ws"), LIMITS, NO_SOCKET)


def answered(*pieces: bytes, door: OpenDoor | None = None) -> bytes:
    """What the port says to these bytes."""
    stream = FakeStream()
    with seemingly_running():
        protocol = server(door).protocol()
        assert isinstance(protocol, WebArrival)
        protocol.connection_made(stream)
        for piece in pieces:
            protocol.receive(piece) if stream.protocol is None else None
        protocol.connection_lost(None)
    return bytes(stream.written)


def test_a_browser_that_keeps_its_connection_alive_is_upgraded_and_welcomed() -> None:
    said = answered(UPGRADE, masked(0x82, HELLO))
    head, _, frames = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"tidings.v1.proto" in head
    assert frames[0] == 0x82
    assert PROTO.decode_server(frames[2:]).WhichOneof("body") == "welcome"


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Upgrade: websocket", b"Upgrade: h2c", b"426"),
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 99", b"426"),
        (b"tidings.v1.proto", b"tidings.v9.proto", b"400"),
        (b"/v1/ws", b"/v2/ws", b"404"),
    ],
)
def test_what_is_no_upgrade_of_ours_is_told_so(old: bytes, new: bytes, status: bytes) -> None:
    assert answered(UPGRADE.replace(old, new)).startswith(b"HTTP/1.1 " + status)


def test_who_comes_when_there_is_no_room_is_told_when_to_come_back() -> None:
    class Slow(OpenDoor):
        def admission_delay_s(self, address: str) -> float:
            return 3.0

    said = answered(UPGRADE, door=Slow())
    assert said.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 3" in said


def test_one_connection_too_many_is_told_so_when_it_has_asked() -> None:
    class Full(OpenDoor):
        def reserve(self, arrival: object) -> bool:
            return False

    stream = FakeStream()
    with seemingly_running():
        busy = server(Full()).protocol()
        assert isinstance(busy, Busy)
        busy.connection_made(stream)
        assert not stream.written
        busy.data_received(b"GET")
        busy.connection_lost(None)
    assert stream.written.startswith(b"HTTP/1.1 503")
    assert stream.closing
