"""A phone: let in, sent away, and what it holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.unit.tools.bench.users.test_web_socket import server_frame
from tidings_protocol import client_pb2 as pb
from tools.bench.users.phone import Phone, TurnedAway
from tools.bench.users.web_socket import BINARY
from tools.cli.failure import Failure

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
WELCOME = pb.ServerFrame(welcome=pb.Welcome(inbox_head=7, epoch="e", heartbeat_s=30))


class Heard:
    """An exchange that only writes down."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.heard = asyncio.Event()
        self.lost = asyncio.Event()

    def take(self, phone: Phone, payload: bytes) -> None:
        del phone
        self.taken.append(payload)
        self.heard.set()

    def lose(self, phone: Phone) -> None:
        del phone
        self.lost.set()


@asynccontextmanager
async def server(answer: bytes, *frames: bytes) -> AsyncIterator[str]:
    """Answers the upgrade with the first, the hello with the others, and closes when something more is said."""

    is_served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if frames:
                await reader.read(1000)
                writer.write(b"".join(frames))
                await reader.read(1000)
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            writer.close()
        finally:
            is_served.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        host, port = listening.sockets[0].getsockname()
        yield f"ws://{host}:{port}/v1/ws"
        await is_served.wait()


def as_frame(frame: pb.ServerFrame) -> bytes:
    return server_frame(BINARY, frame.SerializeToString())


async def test_what_stands_behind_the_welcome_is_not_lost_and_an_end_is_told_once() -> None:
    heard = Heard()
    phone = Phone(heard, 0)
    async with server(SWITCHED, as_frame(WELCOME), server_frame(BINARY, b"pushed" * 40)) as url:
        welcome = await phone.open(url, "token", "", None)
        assert welcome.epoch == "e"
        assert phone.is_open
        await heard.heard.wait()
        assert heard.taken == [b"pushed" * 40]
        phone.ping()
        await heard.lost.wait()
        assert not phone.is_open


async def test_who_is_one_too_many_is_told_when_to_come_again() -> None:
    phone = Phone(Heard(), 0)
    async with server(b"HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\n") as url:
        with pytest.raises(TurnedAway) as turned:
            await phone.open(url, "token", "", None)
    assert (turned.value.retry_s, turned.value.address) == (3.0, "")
    assert not phone.is_open


async def test_who_belongs_elsewhere_is_told_where() -> None:
    phone = Phone(Heard(), 0)
    goodbye = pb.ServerFrame(goodbye=pb.Goodbye(code=4001, address="ws://other"))
    async with server(SWITCHED, as_frame(goodbye)) as url:
        with pytest.raises(TurnedAway) as turned:
            await phone.open(url, "token", "", None)
    assert turned.value.address == "ws://other"


async def test_a_connection_that_breaks_before_the_welcome_is_tried_again_later() -> None:
    phone = Phone(Heard(), 0)
    async with server(b"") as url:
        with pytest.raises(TurnedAway, match="NOT_REACHED"):
            await phone.open(url, "token", "", None)


async def test_any_other_answer_is_no_use_to_wait_for() -> None:
    phone = Phone(Heard(), 0)
    async with server(b"HTTP/1.1 404 Not Found\r\n\r\n") as url:
        with pytest.raises(Failure, match="404"):
            await phone.open(url, "token", "", None)
