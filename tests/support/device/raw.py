"""Bytes on a node's ports, without a client library."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from services.common.settings.addresses import split_address
from tests.support.device.pipes import Address
from tidings_protocol.client_pb2 import ClientFrame, Goodbye, ServerFrame
from tidings_protocol.wire.framing import FrameSplitter, framed

Transport = Literal["ws", "tcp"]
ANSWER_S = 5.0
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidings.v1.proto\r\n"
)


class Raw:
    """One connection."""

    def __init__(self, transport: Transport, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.transport = transport
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def send_frame(self, frame: ClientFrame) -> None:
        self.send(self.wrap(frame.SerializeToString()))

    def wrap(self, payload: bytes) -> bytes:
        return framed(payload) if self.transport == "tcp" else masked(0x82, payload)

    def announce(self, size: int) -> bytes:
        """The beginning of a frame of so many bytes."""
        if self.transport == "tcp":
            return size.to_bytes(4, "big")
        return masked_header(0x82, size)

    async def upgrade(self, headers: bytes = b"") -> None:
        """Nothing on TCP."""
        if self.transport == "ws":
            self.send(UPGRADE + headers + b"\r\n")
            async with asyncio.timeout(ANSWER_S):
                head = await self.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 "), head

    async def frame(self) -> ServerFrame:
        """The next one."""
        async with asyncio.timeout(ANSWER_S):
            if self.transport == "tcp":
                size = int.from_bytes(await self.reader.readexactly(4), "big")
                return ServerFrame.FromString(await self.reader.readexactly(size))
            while True:
                first, size = await self.reader.readexactly(2)
                if size == 126:
                    size = int.from_bytes(await self.reader.readexactly(2), "big")
                payload = await self.reader.readexactly(size)
                if first == 0x82:
                    return ServerFrame.FromString(payload)

    async def goodbye(self) -> Goodbye:
        frame = await self.frame()
        assert frame.WhichOneof("body") == "goodbye", frame
        return frame.goodbye

    async def rest(self) -> bytes:
        """Everything until the end."""
        async with asyncio.timeout(ANSWER_S):
            with suppress(ConnectionError):
                return await self.reader.read()
        return b""


@asynccontextmanager
async def raw(
    address: Address, transport: Transport = "ws", *, tls: ssl.SSLContext | None = None, first: bytes = b""
) -> AsyncIterator[Raw]:
    """`first`: sent before TLS begins."""
    place = address.ws.split("/")[2] if transport == "ws" else address.tcp
    reader, writer = await asyncio.open_connection(*split_address(place))
    try:
        writer.write(first)
        if tls is not None:
            await writer.drain()
            await writer.start_tls(tls, server_hostname="localhost")
        yield Raw(transport, reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def masked_header(first: int, size: int) -> bytes:
    """The header of a client's frame with a mask of zeros."""
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return bytes([first]) + length + b"\0\0\0\0"


def masked(first: int, payload: bytes) -> bytes:
    return masked_header(first, len(payload)) + payload


def frames_in(data: bytes) -> list[ServerFrame]:
    """The frames in the bytes of a TCP stream."""
    return [ServerFrame.FromString(frame) for frame in FrameSplitter(2**24).receive(data)]
