"""Frames over WebSocket, in protobuf or JSON."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from tidings.transport.contract import CLOSE_S, FRAME_BYTES_MAX, Closed, Connection, Refused, tls_for
from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import BadFrame
from tidings_protocol.wire.codec import Codec

PATH = "/v1/ws"


@asynccontextmanager
async def open_websocket(
    url: str, *, codec: Codec, tls: ssl.SSLContext | None, timeout_s: float
) -> AsyncIterator[Connection]:
    """Raises Refused. A URL without a path gets the protocol's."""
    connection = await _connect(url, codec, tls, timeout_s)
    try:
        yield _WebSocket(connection, codec)
    finally:
        await connection.close()


async def _connect(url: str, codec: Codec, tls: ssl.SSLContext | None, timeout_s: float) -> ClientConnection:
    try:
        return await connect(
            with_path(url),
            subprotocols=[Subprotocol(codec.subprotocol)],
            ssl=tls_for(url, tls),
            compression=None,
            proxy=None,
            ping_interval=None,  # the protocol has its own heartbeat
            open_timeout=timeout_s,
            close_timeout=CLOSE_S,
            max_size=FRAME_BYTES_MAX,
        )
    except InvalidStatus as error:
        raise Refused(_told(error), _retry_after_s(error)) from error
    except TimeoutError as error:
        raise Refused(f"{url} did not answer within {timeout_s:g} s") from error
    except (OSError, InvalidHandshake, InvalidURI) as error:
        raise Refused(f"{url} cannot be reached: {error}") from error


class _WebSocket:
    def __init__(self, connection: ClientConnection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec

    async def send(self, frames: Sequence[pb.ClientFrame]) -> None:
        try:
            for frame in frames:
                await self._connection.send(self._codec.encode_client(frame), text=not self._codec.binary)
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def receive(self) -> pb.ServerFrame:
        try:
            data = await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise _closed(error) from error
        try:
            return self._codec.decode_server(data)
        except BadFrame as error:
            raise Closed(0, f"the server sent what is no frame: {error.message}") from error


def with_path(url: str) -> str:
    """The WebSocket URL with the protocol's path, if it has none."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return url if slash and path else f"{scheme}://{host}{PATH}"


def _closed(error: ConnectionClosed) -> Closed:
    return Closed(error.rcvd.code, error.rcvd.reason) if error.rcvd is not None else Closed()


def _told(error: InvalidStatus) -> str:
    response = error.response
    text = (response.body or b"").decode(errors="replace").strip()[:200]
    return f"HTTP {response.status_code} {text or response.reason_phrase}"


def _retry_after_s(error: InvalidStatus) -> float:
    try:
        return min(600.0, max(0.0, float(error.response.headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0
