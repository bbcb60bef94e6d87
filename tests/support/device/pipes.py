"""The three ways to an access node as pipes of frames: none of the project's own codecs is in them.

Guarantees: a pipe carries what it is given, also what no client should send (`send_raw`).
Does not know: what a frame means.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from google.protobuf import json_format
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tidings_protocol.client_pb2 import ClientFrame, ServerFrame

Way = Literal["json", "proto", "tcp"]
WAYS: tuple[Way, ...] = ("json", "proto", "tcp")


@dataclass(frozen=True, slots=True)
class Address:
    """Where one access node listens."""

    ws: str
    tcp: str


class Pipe(Protocol):
    """One connection that carries frames as bytes or text."""

    async def send(self, frame: ClientFrame) -> None: ...
    async def send_raw(self, data: bytes | str) -> None: ...
    async def receive(self) -> ServerFrame | None:
        """None: the server ended it."""
        ...

    async def close(self) -> None: ...
    @property
    def code(self) -> int: ...


class JsonPipe:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, frame: ClientFrame) -> None:
        await self.send_raw(json_format.MessageToJson(frame, indent=None))

    async def send_raw(self, data: bytes | str) -> None:
        try:
            await self._socket.send(data)
        except ConnectionClosed as error:
            raise ConnectionResetError(str(error)) from None

    async def receive(self) -> ServerFrame | None:
        try:
            text = await self._socket.recv()
        except ConnectionClosed:
            return None
        assert isinstance(text, str), "JSON comes in text messages"
        return json_format.Parse(text, ServerFrame())

    async def close(self) -> None:
        await self._socket.close()

    @property
    def code(self) -> int:
        return self._socket.close_code or 0


class ProtoPipe(JsonPipe):
    async def send(self, frame: ClientFrame) -> None:
        await self.send_raw(frame.SerializeToString())

    async def receive(self) -> ServerFrame | None:
        try:
            data = await self._socket.recv()
        except ConnectionClosed:
            return None
        assert isinstance(data, bytes), "protobuf comes in binary messages"
        return ServerFrame.FromString(data)


class TcpPipe:
    code = 0

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, frame: ClientFrame) -> None:
        data = frame.SerializeToString()
        await self.send_raw(len(data).to_bytes(4, "big") + data)

    async def send_raw(self, data: bytes | str) -> None:
        assert isinstance(data, bytes)
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> ServerFrame | None:
        try:
            size = int.from_bytes(await self._reader.readexactly(4), "big")
            return ServerFrame.FromString(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


async def open_pipe(address: Address, way: Way) -> Pipe:
    """A bare connection."""
    if way == "tcp":
        host, _, port = address.tcp.rpartition(":")
        return TcpPipe(*await asyncio.open_connection(host.strip("[]"), int(port)))
    socket = await connect_websocket(
        address.ws,
        subprotocols=[Subprotocol(f"tidings.v1.{way}")],
        max_size=None,
        ping_interval=None,
        compression=None,
        close_timeout=2,
        proxy=None,
    )
    assert socket.subprotocol == f"tidings.v1.{way}"
    return JsonPipe(socket) if way == "json" else ProtoPipe(socket)
