"""The set of a node's connections, and what is counted of it."""

from __future__ import annotations

import asyncio

from services.access.connection.abuse_tracker import AbuseTracker
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connection.traffic import Traffic
from services.access.connections import STATES, ConnectionMetrics, Connections, count_states
from services.access.session.limits import LimitPolicy
from services.access.transport.tcp import TcpArrival, TcpServer, TcpStream
from services.common.clock import ManualClock
from services.common.telemetry import metrics
from tests.support.network.port import LIMITS, NO_SOCKET, FakeNode, FakeStream, OpenDoor
from tests.unit.access.fakes import Client
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


# ---- the set


class World:
    """A set of connections whose node is the one of the tests, but for the set itself."""

    def __init__(self) -> None:
        self.clock, self.hub, self.abuse = ManualClock(1000.0), Hub[Connection](), AbuseTracker(LimitPolicy())
        self.connections = Connections(self.hub, self.abuse, self.clock)

    def connect(self, user: str = "ann", *, welcomed: bool = True) -> Client:
        node = FakeNode(user, f"s-{user}")
        node.connections = self.connections  # type: ignore[assignment]  # the real ones
        node.wheel = self.connections.wheel
        client = Client(node)
        if welcomed:
            node.store = self.open  # type: ignore[method-assign]
            client.say(id=1, hello=client_pb2.Hello(token="t", device="d"))
        return client

    def open(self, connection: Connection) -> None:
        self.hub.add(connection.user, connection)
        connection.open(client_pb2.ServerFrame(welcome=client_pb2.Welcome(user=connection.user)))


async def test_a_connection_counts_as_a_handshake_until_it_is_welcomed_and_as_a_session_after() -> None:
    world = World()
    silent, ann = world.connect(welcomed=False), world.connect()
    assert (len(world.connections), world.connections.handshakes, world.connections.sessions) == (2, 1, 1)
    assert ann.connection in world.connections
    for client in (silent, ann):
        client.connection.lost()
    assert (len(world.connections), world.connections.handshakes, world.connections.sessions) == (0, 0, 0)
    assert await world.connections.wait_empty(0.0)


async def test_who_waits_for_the_last_one_is_told_when_that_is_too_long() -> None:
    world = World()
    world.connect()
    assert not await world.connections.wait_empty(0.0)


async def test_open_connections_are_counted_by_transport_and_kind() -> None:
    gauge = metrics.CONNECTIONS.labels("tcp", "web")
    before = gauge._value.get()
    client = World().connect()
    assert gauge._value.get() == before + 1
    client.connection.lost()
    assert gauge._value.get() == before


async def test_from_the_second_connection_on_a_user_has_windows_in_common() -> None:
    world = World()
    world.connect()
    assert not world.abuse._traffic, "alone it needs none"
    world.connect()
    assert list(world.abuse._traffic) == ["ann"]


async def test_what_gathers_in_a_turn_goes_out_at_its_end() -> None:
    client = World().connect()
    client.wire.frames.clear()
    client.connection.send_gathered(b"a", "sent")
    client.connection.send_gathered(b"b", "sent")
    assert client.wire.frames == []
    await asyncio.sleep(0)
    assert client.wire.frames == [b"ab"]


async def test_leaving_ends_everyone_with_a_goodbye() -> None:
    world = World()
    async with world.connections:
        client = world.connect()
    assert client.goodbye is not None
    assert client.goodbye.code == 4000
    assert client.wire.aborted


def test_new_ones_are_taken_when_it_is_said_so() -> None:
    connections = World().connections
    taken = [connections.accepting]
    connections.accept()
    taken.append(connections.accepting)
    connections.refuse()
    assert [*taken, connections.accepting] == [False, True, False]


async def test_what_is_shown_of_all_is_set_at_once() -> None:
    world, traffic = World(), Traffic("tcp")
    world.connect()
    world.connect("bob")
    shown = ConnectionMetrics(world.connections, world.hub, world.abuse, world.clock, [traffic], lambda: 3)
    traffic.bytes_in = 7
    shown.flush()
    shown.sample()
    values = [gauge._value.get() for gauge in (metrics.HANDSHAKES, metrics.USERS, metrics.SESSIONS, metrics.BANNED)]
    assert values == [3, 2, 2, 0]
    assert metrics.CONNECTION_STATES.labels("live")._value.get() == 2
    assert traffic.bytes_in == 0
