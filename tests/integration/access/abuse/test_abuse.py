"""Floods, loris, zombies: each kind is found, ended with its code, counted, and costs bounded memory meanwhile."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from services.access.wiring import Rooms
from tests.support.cluster.access_nodes import AccessCluster, RunningNode, eventually
from tests.support.device.pipes import WAYS, Way
from tests.support.device.wire import Closed, connect
from tests.support.network.certificates import Authority
from tidings_protocol.client_pb2 import ClientFrame, Content, Hello, Ping, Send
from tidings_protocol.errors import Overloaded

each_way = pytest.mark.parametrize("way", WAYS)
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidings.v1.proto\r\n\r\n"
)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def counting(name: str, by: float = 1.0, **labels: str) -> AsyncIterator[None]:
    """Within it the counter goes up by at least so much."""
    before = counted(name, **labels)
    yield
    assert counted(name, **labels) - before >= by, f"{name} {labels}"


def address_of(node: RunningNode, transport: str) -> tuple[str, int]:
    address = node.address.ws.split("/")[2] if transport == "ws" else node.address.tcp
    host, _, port = address.rpartition(":")
    return host, int(port)


def ban_of(closed: Closed) -> int:
    """How long it is to stay away, in milliseconds."""
    assert closed.goodbye is not None
    assert closed.goodbye.code == 4006
    return closed.goodbye.retry_after_ms


def masked(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's WebSocket frame with a mask of zeros."""
    head = bytes([opcode | (0x80 if fin else 0)])
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    return head + length + b"\0\0\0\0" + payload


# ---- floods of frames


@each_way
async def test_a_flood_of_frames_is_slowed_then_closed_and_its_device_banned(empty: AccessCluster, way: Way) -> None:
    await empty.start("access-0", frames_per_s=5, ban_s=7)
    async with (
        counting("tidings_bans_total", reason="frames"),
        counting("tidings_limited_total", by=40, limit="frames"),
        counting("tidings_goodbyes_total", code="4006"),
        empty.session("eve", way) as eve,
    ):
        for _ in range(120):
            await eve.post(ping=Ping())
        assert ban_of(await eve.end()) == 7000


async def test_a_flood_of_bytes_is_closed_and_counted_as_such(empty: AccessCluster) -> None:
    await empty.start("access-0", bytes_per_s=1000)
    async with counting("tidings_bans_total", reason="bytes"), empty.session("eve", "tcp") as eve:
        for n in range(3):
            await eve.post(send=Send(client_id=str(n), user="bob", content=Content(text="x" * 9000)))
        ban_of(await eve.end())


@pytest.mark.parametrize("kind", [0x9, 0xA])
async def test_a_flood_of_control_frames_is_a_flood_of_frames(empty: AccessCluster, kind: int) -> None:
    await empty.start("access-0", frames_per_s=5)
    async with counting("tidings_bans_total", reason="frames"), raw_session(empty, "eve") as (reader, writer):
        writer.write(masked(kind, b"") * 200)
        assert b"\x0f\xa6" in await reader.read()  # 4006 in the close frame


async def test_a_flood_of_fragments_is_a_flood_of_frames(empty: AccessCluster) -> None:
    await empty.start("access-0", frames_per_s=5)
    async with counting("tidings_bans_total", reason="frames"), raw_session(empty, "eve") as (reader, writer):
        writer.write(masked(0x2, b"", fin=False) + masked(0x0, b"", fin=False) * 200)
        assert b"\x0f\xa6" in await reader.read()


async def test_a_flood_of_control_frames_before_the_hello_is_ended(empty: AccessCluster) -> None:
    node = await empty.start("access-0")
    reader, writer = await asyncio.open_connection(*address_of(node, "ws"))
    writer.write(UPGRADE + masked(0xA, b"") * 2100)
    assert b"\x0f\xa6" in await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_pings_of_who_does_not_read_are_not_answered_and_do_not_pile_up(empty: AccessCluster) -> None:
    node = await empty.start("access-0", slow_consumer_bytes=4096, socket_send_buffer_bytes=4096, frames_per_s=0)
    async with raw_session(empty, "eve", receive_buffer=4096) as (_, writer):
        for _ in range(100):
            writer.write(masked(0x9, b"x" * 125) * 100)
            await writer.drain()
        await eventually(lambda: node.state["slow_consumers"])
        waiting = sum(each.transport._stream.get_write_buffer_size() for each in connections_of(node))
        assert waiting < 64 * 1024


async def test_before_the_hello_nobody_is_a_slow_consumer(empty: AccessCluster) -> None:
    """One that pings, and does not read, before it says hello: others that come then are not touched by it."""
    node = await empty.start("access-0", slow_consumer_bytes=4096, socket_send_buffer_bytes=4096)
    async with counting("tidings_slow_consumer_pauses_total", by=0), raw(node, receive_buffer=4096) as (_, writer):
        before = counted("tidings_slow_consumer_pauses_total")
        cast(
            "asyncio.Transport", writer.transport
        ).pause_reading()  # a stream reads ahead, and what it reads would unblock the connection
        writer.write(UPGRADE)
        for _ in range(20):
            writer.write(masked(0x9, b"x" * 125) * 100)
        await eventually(lambda: any(each.session._blocked for each in connections_of(node)))
        async with empty.session("ann") as ann:
            assert (await ann.request(ping=Ping())).pong.time_ms
        assert counted("tidings_slow_consumer_pauses_total") == before


# ---- one user, many connections


async def test_the_connections_of_one_user_share_a_limit(empty: AccessCluster) -> None:
    """Ten connections, each within its own limit, are four times over what one user may do."""
    await empty.start("access-0", frames_per_s=5)
    async with counting("tidings_bans_total", reason="frames"), asyncio.TaskGroup() as group:

        async def talk(device: str) -> None:
            async with empty.session("eve", "proto", device=device) as eve:
                opened.append(device)
                await eventually(lambda: len(opened) == 10)
                for _ in range(49):
                    await eve.post(ping=Ping())
                try:
                    ban_of(await eve.end(1))
                except TimeoutError:
                    return
                banned.append(device)

        opened: list[str] = []
        banned: list[str] = []
        for n in range(10):
            group.create_task(talk(f"device-{n}"))
    assert banned


async def test_bad_requests_count_for_the_user_whatever_connection_they_come_on(empty: AccessCluster) -> None:
    await empty.start("access-0", refused_per_minute=10)
    codes = []
    async with counting("tidings_bans_total", reason="refused"):
        for n in range(6):
            async with empty.session("eve", device=f"device-{n}") as eve:
                for _ in range(9):
                    await eve.post(send=Send(client_id="1", content=Content(text="x")))
                try:
                    codes.append(ban_of(await eve.end(0.3)))
                except TimeoutError:
                    codes.append(0)
    assert codes[:4] == [0, 0, 0, 0]
    assert 30_000 in codes[4:]


async def test_a_device_that_connects_over_and_over_is_banned(empty: AccessCluster) -> None:
    await empty.start("access-0", hellos_per_minute=5, ban_s=9)
    for _ in range(5):
        async with empty.session("eve"):
            pass
    async with (
        counting("tidings_bans_total", reason="reconnects"),
        connect(empty.nodes["access-0"].address, "json") as wire,
    ):
        await wire.post(hello=Hello(token=empty.token("eve"), device="phone"))
        assert ban_of(await wire.end()) == 9000


async def test_other_device_names_are_no_way_around_it(empty: AccessCluster) -> None:
    node = await empty.start("access-0", hellos_per_minute=1)  # 20 for all devices of a user
    async with counting("tidings_bans_total", reason="reconnects"):
        for n in range(20):
            async with empty.session("eve", device=f"device-{n}"):
                pass
        async with connect(node.address, "json") as wire:
            await wire.post(hello=Hello(token=empty.token("eve"), device="fresh"))
            assert ban_of(await wire.end()) == 30_000
    async with empty.session("ann"):
        pass


async def test_a_device_too_many_is_turned_away_and_counted(empty: AccessCluster) -> None:
    node = await empty.start("access-0")
    empty.logic.open_fault = Overloaded("100 devices are connected", 60_000)
    async with (
        counting("tidings_connections_refused_total", reason="overloaded"),
        counting("tidings_goodbyes_total", code="4003"),
        connect(node.address, "json") as wire,
    ):
        await wire.post(hello=Hello(token=empty.token("eve"), device="one more"))
        closed = await wire.end()
        assert closed.goodbye is not None
        assert (closed.goodbye.code, closed.goodbye.retry_after_ms) == (4003, 60_000)


# ---- slow handshakes


async def test_connections_that_say_nothing_are_as_bounded_as_handshakes(empty: AccessCluster) -> None:
    """Also before the upgrade, when WebSocket has not begun: the rest is told to come later."""
    node = await empty.start("access-0", handshakes_max=20, handshake_s=30)
    silent = [await asyncio.open_connection(*address_of(node, "ws")) for _ in range(30)]
    async with counting("tidings_connections_refused_total", reason="handshakes"):
        reader, writer = await asyncio.open_connection(*address_of(node, "ws"))
        writer.write(UPGRADE)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in answer
        head, _, body = answer.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        writer.close()
    for _, each in silent:
        each.close()
    await eventually(lambda: under_way(node) == 0)
    async with empty.session("ann"):
        pass


async def test_slow_handshakes_are_ended_and_counted_and_leave_nothing(empty: AccessCluster) -> None:
    node = await empty.start("access-0", handshake_s=0.3)
    async with counting("tidings_connections_refused_total", by=10, reason="slow"):
        silent = [await asyncio.open_connection(*address_of(node, "ws")) for _ in range(10)]
        for reader, writer in silent:
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
    await eventually(lambda: under_way(node) == 0)


@pytest.mark.parametrize("transport", ["ws", "tcp"])
async def test_tls_that_does_not_begin_is_ended_and_is_as_bounded(
    empty: AccessCluster, tmp_path: Path, transport: str
) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("localhost", "127.0.0.1")
    node = await empty.start(
        "access-0", handshake_s=1, handshakes_max=5, tls_certificate_file=pair.certificate, tls_key_file=pair.key
    )
    silent = [await asyncio.open_connection(*address_of(node, transport)) for _ in range(5)]
    await eventually(lambda: under_way(node) == 5)
    reader, writer = await asyncio.open_connection(*address_of(node, transport), ssl=authority.trusted())
    writer.write(UPGRADE if transport == "ws" else b"")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert (b"503 " if transport == "ws" else b"\xa3\x1f") in answer
    writer.close()
    for reader, each in silent:
        assert await asyncio.wait_for(reader.read(), 5) == b""
        each.close()
    await eventually(lambda: under_way(node) == 0)


async def test_garbage_instead_of_tls_leaves_nothing(empty: AccessCluster, tmp_path: Path) -> None:
    pair = Authority(tmp_path / "authority").issue("localhost", "127.0.0.1")
    node = await empty.start("access-0", tls_certificate_file=pair.certificate, tls_key_file=pair.key)
    # Always the same bytes: random ones look like the beginning of a handshake now and then, whose rest is waited for.
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(512), *(Random(seed).randbytes(512) for seed in range(5))):
        reader, writer = await asyncio.open_connection(*address_of(node, "tcp"))
        writer.write(garbage)
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
    await eventually(lambda: under_way(node) == 0)


@pytest.mark.parametrize("beginning", [b"\x16\x03\x01\x40\x00", b"\xbf\xff\x01"], ids=["tls", "sslv2"])
async def test_the_beginning_of_a_tls_handshake_is_waited_for_no_longer_than_any(
    empty: AccessCluster, tmp_path: Path, beginning: bytes
) -> None:
    pair = Authority(tmp_path / "authority").issue("localhost", "127.0.0.1")
    node = await empty.start("access-0", tls_certificate_file=pair.certificate, tls_key_file=pair.key, handshake_s=1)
    reader, writer = await asyncio.open_connection(*address_of(node, "tcp"))
    writer.write(beginning + bytes(509))
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await eventually(lambda: under_way(node) == 0)


# ---- zombies


@each_way
async def test_a_zombie_is_probed_three_times_ended_and_counted(empty: AccessCluster, way: Way) -> None:
    node = await empty.start("access-0", heartbeat_s=1, mobile_heartbeat_s=1, idle_heartbeat_s=2, probe_gap_s=0.2)
    async with (
        counting("tidings_heartbeat_probes_total", by=3),
        counting("tidings_heartbeats_lost_total"),
        counting("tidings_goodbyes_total", code="4002"),
        half_open(empty, node, way),
    ):
        await eventually(lambda: node.state["sessions"] == 1)
        await eventually(lambda: node.state["connections"] == 0, 10)
    assert node.state["sessions"] == 0
    assert node.state["users"] == 0


@asynccontextmanager
async def half_open(empty: AccessCluster, node: RunningNode, way: Way) -> AsyncIterator[None]:
    """A client that logged in and then neither reads nor writes: as one whose network is gone."""
    hello = ClientFrame(hello=Hello(token=empty.token("zoe"), device="d")).SerializeToString()
    transport = "tcp" if way == "tcp" else "ws"
    _, writer = await asyncio.open_connection(*address_of(node, transport), limit=1)
    if way == "tcp":
        writer.write(len(hello).to_bytes(4, "big") + hello)
    elif way == "proto":
        writer.write(UPGRADE + masked(0x2, hello))
    else:
        text = f'{{"hello":{{"token":"{empty.token("zoe")}","device":"d"}}}}'.encode()
        writer.write(UPGRADE.replace(b"v1.proto", b"v1.json") + masked(0x1, text))
    try:
        yield
    finally:
        writer.close()


# ---- what the tests stand on


def connections_of(node: RunningNode) -> list[Any]:
    """Looked at where no metric or state tells."""
    rooms = next(value for value in node.debug.args if isinstance(value, Rooms))
    return list(rooms.node.connections)


def under_way(node: RunningNode) -> int:
    return int(node.state["handshakes"])


@asynccontextmanager
async def raw(
    node: RunningNode, *, receive_buffer: int = 0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Bytes to and from the WebSocket port."""
    bare = socket.socket()
    if receive_buffer:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    bare.setblocking(False)
    await asyncio.get_running_loop().sock_connect(bare, address_of(node, "ws"))
    reader, writer = await asyncio.open_connection(sock=bare, limit=1024)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def raw_session(
    empty: AccessCluster, user: str, *, receive_buffer: int = 0
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The same with a session."""
    node = empty.nodes["access-0"]
    async with raw(node, receive_buffer=receive_buffer) as (reader, writer):
        hello = ClientFrame(hello=Hello(token=empty.token(user), device="d")).SerializeToString()
        writer.write(UPGRADE + masked(0x2, hello))
        await eventually(lambda: node.state["sessions"] == 1)
        yield reader, writer
