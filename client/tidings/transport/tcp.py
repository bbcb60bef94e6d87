"""Frames over TCP: a 4-byte length, then protobuf."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tidings.transport.contract import CLOSE_S, FRAME_BYTES_MAX, Closed, Connection, Refused, tls_for
from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import BadFrame
from tidings_protocol.wire.codec import PROTO
from tidings_protocol.wire.framing import FrameSplitter, framed

CHUNK_BYTES = 64 * 1024


@asynccontextmanager
async def open_tcp(url: str, *, tls: ssl.SSLContext | None, timeout_s: float) -> AsyncIterator[Connection]:
    """tcp://host:port, or tcps:// for TLS. Raises Refused."""
    reader, writer = await _connect(url, tls_for(url, tls), timeout_s)
    try:
        yield _Tcp(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await writer.wait_closed()


async def _connect(
    url: str, tls: ssl.SSLContext | None, timeout_s: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        host, port = _place(url)
        async with asyncio.timeout(timeout_s):
            return await asyncio.open_connection(host, port, ssl=tls, server_hostname=host if tls else None)
    except TimeoutError as error:
        raise Refused(f"{url} did not answer within {timeout_s:g} s") from error
    except (OSError, ValueError) as error:
        raise Refused(f"{url} cannot be reached: {error}") from error


class _Tcp:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._splitter = FrameSplitter(FRAME_BYTES_MAX)
        self._frames: deque[bytes] = deque()

    async def send(self, frames: Sequence[pb.ClientFrame]) -> None:
        data = b"".join(framed(PROTO.encode_client(frame)) for frame in frames)
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, RuntimeError) as error:  # RuntimeError: uvloop's, of a transport that was closed already
            raise Closed(0, f"the connection broke: {error}") from error

    async def receive(self) -> pb.ServerFrame:
        while not self._frames:
            if self._splitter.refusal is not None:
                raise Closed(0, f"the server sent too much: {self._splitter.refusal.message}")
            try:
                chunk = await self._reader.read(CHUNK_BYTES)
            except OSError as error:
                raise Closed(0, f"the connection broke: {error}") from error
            if not chunk:
                raise Closed
            self._frames.extend(self._splitter.receive(chunk))
        try:
            return PROTO.decode_server(self._frames.popleft())
        except BadFrame as error:
            raise Closed(0, f"the server sent what is no frame: {error.message}") from error


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if not parts.hostname or not parts.port:
        raise ValueError("it needs a host and a port, as in tcp://127.0.0.1:8100")
    return parts.hostname, parts.port
