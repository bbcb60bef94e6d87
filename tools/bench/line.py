"""One connection of the load generator: frames over picows or plain TCP, with as little Python as possible.

Not the client library on purpose: that costs more processor time than a message costs the cluster. It greets, follows
the address it is given, and hands every other frame to `on_frame`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from protos.tidings.v1 import client_pb2 as pb
from services.common.wire.codec import PROTO
from services.common.wire.framing import FrameSplitter, framed
from tools.failure import Failure

MOVES_MAX = 5
OPEN_S = 30.0
FRAME_BYTES_MAX = 16 * 1024 * 1024

OnBytes = Callable[[bytes], None]


class Pipe(Protocol):
    def send(self, frame: bytes) -> None: ...

    def close(self) -> None: ...


class _WebSocket(WSListener):
    def __init__(self, on_bytes: OnBytes, on_lost: Callable[[], None]) -> None:
        self._on_bytes = on_bytes
        self._on_lost = on_lost
        self._transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.BINARY:
            self._on_bytes(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del transport
        self._on_lost()

    def send(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.send(WSMsgType.BINARY, frame)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.disconnect()


class _Tcp(asyncio.Protocol):
    def __init__(self, on_bytes: OnBytes, on_lost: Callable[[], None]) -> None:
        self._on_bytes = on_bytes
        self._on_lost = on_lost
        self._splitter = FrameSplitter(FRAME_BYTES_MAX)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not of this class

    def data_received(self, data: bytes) -> None:
        for frame in self._splitter.receive(data):
            self._on_bytes(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._on_lost()

    def send(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(framed(frame))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Line:
    """`on_frame` gets what comes after the welcome; `on_lost` is called once when an open line breaks."""

    def __init__(
        self, user: str, token: str, on_frame: Callable[[pb.ServerFrame], None], on_lost: Callable[[], None]
    ) -> None:
        self._user = user
        self._token = token
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._pipe: Pipe | None = None
        self._greeting: asyncio.Future[pb.ServerFrame] | None = None
        self._live = False
        self._attempt = 0

    async def open(self, url: str, cursor: int = 0, epoch: str = "") -> pb.Welcome:
        """Raises Failure when no node lets this user in."""
        try:
            async with asyncio.timeout(OPEN_S):
                return await self._open(url, cursor, epoch)
        except TimeoutError as error:
            raise Failure(f"{self._user} was not let in within {OPEN_S:g} s.") from error

    async def _open(self, url: str, cursor: int, epoch: str) -> pb.Welcome:
        for _ in range(MOVES_MAX):
            reply = await self._greet(url, cursor, epoch)
            if reply.HasField("welcome"):
                self._live = True
                return reply.welcome
            if not reply.goodbye.address:
                raise Failure(f"{self._user} was not let in: {reply.goodbye.message}.")
            url = _in_scheme(reply.goodbye.address)
        raise Failure(f"{self._user} was not let in: sent around {MOVES_MAX} times.")

    def send(self, frame: bytes) -> None:
        assert self._pipe is not None
        self._pipe.send(frame)

    def close(self) -> None:
        self._live = False
        if self._pipe is not None:
            self._pipe.close()

    async def _greet(self, url: str, cursor: int, epoch: str) -> pb.ServerFrame:
        loop = asyncio.get_running_loop()
        self._greeting = loop.create_future()
        if self._pipe is not None:
            self._pipe.close()
        self._attempt = attempt = self._attempt + 1
        self._pipe = await _connect(url, self._take, lambda: self._lost(attempt))
        hello = pb.Hello(
            token=self._token, device="bench", kind=pb.Hello.BOT, client="tidings-bench", cursor=cursor, epoch=epoch
        )
        self._pipe.send(PROTO.encode_client(pb.ClientFrame(hello=hello)))
        return await self._greeting

    def _take(self, data: bytes) -> None:
        frame = pb.ServerFrame.FromString(data)
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_result(frame)
        else:
            self._on_frame(frame)

    def _lost(self, attempt: int) -> None:
        if attempt != self._attempt:
            return  # an earlier one
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_result(pb.ServerFrame(goodbye=pb.Goodbye(message="the connection broke")))
        elif self._live:
            self._live = False
            self._on_lost()


async def _connect(url: str, on_bytes: OnBytes, on_lost: Callable[[], None]) -> Pipe:
    try:
        if url.startswith("tcp://"):
            host, _, port = url.removeprefix("tcp://").rpartition(":")
            _, tcp = await asyncio.get_running_loop().create_connection(
                lambda: _Tcp(on_bytes, on_lost), host, int(port)
            )
            return tcp
        _, websocket = await ws_connect(
            lambda: _WebSocket(on_bytes, on_lost),
            url,
            extra_headers={"Sec-WebSocket-Protocol": PROTO.subprotocol},
            max_frame_size=FRAME_BYTES_MAX,
        )
        assert isinstance(websocket, _WebSocket)
        return websocket
    except OSError as error:
        raise Failure(f"{url} cannot be reached: {error}.") from error


def _in_scheme(address: str) -> str:
    return address if "://" in address else f"tcp://{address}"
