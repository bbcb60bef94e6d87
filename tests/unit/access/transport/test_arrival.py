"""A connection before its session is stored: what it may cost."""

from __future__ import annotations

import asyncio
from typing import Any

from services.access.transport.arrival import Arrival, feed, peer_of
from tests.fuzz.port import FakeStream, OpenDoor


class Inner(asyncio.Protocol):
    """Notes what the protocol behind is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.said.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.said.append("eof")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.said.append("lost")


class Door(OpenDoor):
    """Holds so many bytes."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0

    def hold(self, size: int) -> bool:
        fits = self.held + size <= self.most
        self.held += size if fits else 0
        return fits

    def give_back(self, size: int) -> None:
        self.held -= size


class Counted(Arrival):
    overflowed = 0

    def receive(self, data: bytes) -> None:
        self.inner.data_received(data)

    def overflow(self) -> None:
        self.overflowed += 1
        self.ignore()


class World:
    def __init__(self, most: int = 100) -> None:
        self.door, self.inner, self.stream = Door(most), Inner(), FakeStream()
        self.arrival = Counted(self.door, self.inner, "")
        self.arrival.connection_made(self.stream)


def test_what_comes_is_counted_until_the_session_is_stored_and_then_goes_to_the_protocol_itself() -> None:
    world = World()
    feed(world.arrival, b"hello")
    assert (world.inner.data, world.door.held) == (b"hello", 5)
    world.arrival.admit()
    assert world.door.held == 0
    assert world.stream.protocol is world.inner


def test_too_much_of_all_together_is_told_and_not_handed_on() -> None:
    world = World(most=5)
    feed(world.arrival, b"123456")
    feed(world.arrival, b"1")
    assert (world.arrival.overflowed, world.inner.data, world.door.held) == (1, b"", 0)


def test_one_that_is_lost_gives_back_what_it_held_and_tells_the_protocol_once() -> None:
    world = World()
    feed(world.arrival, b"hello")
    assert not world.arrival.eof_received()
    world.arrival.connection_lost(None)
    world.arrival.connection_lost(None)
    assert world.door.held == 0
    assert world.inner.said == ["made", "eof", "lost"]


def test_the_address_is_the_sockets_unless_somebody_said_another() -> None:
    world = World()
    assert world.arrival.address == peer_of(world.stream) == "192.0.2.1"
    told = Counted(world.door, Inner(), "192.0.2.9")
    told.connection_made(FakeStream())
    assert told.address == "192.0.2.9"


def test_a_stream_without_a_name_has_no_address() -> None:
    class Nameless(FakeStream):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return None

    assert peer_of(Nameless()) == ""


def test_bytes_are_fed_whole_into_a_protocol_with_a_buffer_of_its_own() -> None:
    class Small(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer, self.data = bytearray(3), b""

        def get_buffer(self, sizehint: int) -> memoryview:
            return memoryview(self.buffer)

        def buffer_updated(self, nbytes: int) -> None:
            self.data += self.buffer[:nbytes]

    small = Small()
    feed(small, b"12345678")
    assert small.data == b"12345678"
