"""TCP: lengths, and the way to its end."""

from __future__ import annotations

import asyncio

import pytest

from services.access.admission.proxy_header import VERSION_1
from services.access.connection.traffic import Traffic
from services.access.session.session import Phase
from services.access.transport import tcp
from services.access.transport.tcp import TcpArrival, TcpServer, TcpStream
from tests.support.network.port import LIMITS, NO_SOCKET, FakeNode, FakeStream, OpenDoor
from tidings_protocol import client_pb2
from tidings_protocol.wire.codec import PROTO
from tidings_protocol.wire.framing import FrameSplitter, framed

HELLO = framed(PROTO.encode_client(client_pb2.ClientFrame(id=1, hello=client_pb2.Hello(token="t", device="d"))))


class Slow(OpenDoor):
    """Tells everybody to come later."""

    def admission_delay_s(self, address: str) -> float:
        return 3.0


class World:
    def __init__(self, door: OpenDoor | None = None) -> None:
        server = TcpServer(FakeNode(), door or OpenDoor(), Traffic("tcp"), LIMITS, NO_SOCKET)
        arrival = server.protocol()
        assert isinstance(arrival, TcpArrival)
        self.arrival, self.stream = arrival, FakeStream()
        self.tcp: TcpStream = arrival.inner
        arrival.connection_made(self.stream)

    @property
    def said(self) -> list[client_pb2.ServerFrame]:
        return [PROTO.decode_server(frame) for frame in FrameSplitter(1 << 20).receive(bytes(self.stream.written))]


def test_a_hello_in_pieces_is_welcomed_and_the_socket_handed_over() -> None:
    world = World()
    for byte in HELLO:
        world.arrival.receive(bytes([byte]))
    assert [frame.WhichOneof("body") for frame in world.said] == ["welcome"]
    assert world.stream.protocol is world.tcp
    assert world.tcp.name == "tcp"


def test_a_frame_that_is_too_large_is_refused_by_its_length() -> None:
    world = World()
    world.arrival.receive((LIMITS.frame_bytes_max + 1).to_bytes(4, "big"))
    (goodbye,) = world.said
    assert goodbye.goodbye.code == 4504


async def test_who_comes_when_there_is_no_room_is_told_when_to_come_back() -> None:
    world = World(Slow())
    (goodbye,) = world.said
    assert (goodbye.goodbye.code, goodbye.goodbye.retry_after_ms, world.stream.closing) == (4003, 3000, True)
    world.tcp.data_received(HELLO)
    assert len(world.said) == 1


async def test_who_was_turned_away_and_does_not_go_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[FakeStream] = []

    def abort(stream: FakeStream) -> None:
        cut.append(stream)

    monkeypatch.setattr(tcp, "BUSY_S", 0.0)
    monkeypatch.setattr(FakeStream, "abort", abort)
    world = World(Slow())
    assert (world.stream.closing, cut) == (True, [])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert cut == [world.stream]


def test_a_proxy_header_that_nobody_expected_is_told_as_such() -> None:
    world = World()
    world.arrival.receive(VERSION_1)
    (goodbye,) = world.said
    assert goodbye.goodbye.code == 4503
    assert "trusted_proxies" in goodbye.goodbye.message


def test_after_the_goodbye_what_comes_is_dropped() -> None:
    world = World()
    world.arrival.receive(HELLO)
    connection = world.tcp._connection
    assert connection is not None
    world.tcp.data_received(framed(PROTO.encode_client(client_pb2.ClientFrame(bye=client_pb2.Bye()))))
    assert connection.session.phase is Phase.CLOSING
    world.tcp.data_received(HELLO)
    assert len(world.said) == 1
    assert not world.tcp.probe(), "TCP has nothing for it"
    world.tcp.connection_lost(None)
    assert world.tcp.waiting_bytes == 0
