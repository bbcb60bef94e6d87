"""One connection of the load generator: frames over picows or plain TCP, with as little Python as possible.

Not the client library on purpose: that costs more processor time than a message costs the cluster. It greets, follows
the address it is given, and hands the payload of every other frame to `take`.

What one turn of the event loop writes to a line goes out in one system call. uvloop does not gather it: its `write`
calls the system at once, 8 µs each time, which at four messages in flight was half of what a message cost here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol, cast

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from picows.common import WSHandshakeError

from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import Unparsable
from tidings_protocol.wire.framing import FrameSplitter
from tools.bench.users.frames import Wire
from tools.cli.failure import Failure

MOVES_MAX = 5
OPEN_S = 30.0
FRAME_BYTES_MAX = 16 * 1024 * 1024
READ_BYTES = 2048  # picows keeps a buffer of at least this for each connection

OnBytes = Callable[[bytes], None]


class Pipe(Protocol):
    write: Callable[[bytes], None]

    def close(self) -> None: ...


class _WebSocket(WSListener):
    def __init__(self, on_bytes: OnBytes, on_lost: Callable[[], None]) -> None:
        self._on_bytes = on_bytes
        self._on_lost = on_lost
        self._transport: WSTransport | None = None
        self.write: Callable[[bytes], None] = _dropped

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self.write = transport.underlying_transport.write

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type in (WSMsgType.BINARY, WSMsgType.TEXT):
            self._on_bytes(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del transport
        self.write = _dropped
        self._on_lost()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.disconnect()


class _Tcp(asyncio.Protocol):
    def __init__(self, on_bytes: OnBytes, on_lost: Callable[[], None]) -> None:
        self._on_bytes = on_bytes
        self._on_lost = on_lost
        self._splitter = FrameSplitter(FRAME_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self.write: Callable[[bytes], None] = _dropped

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not of this class
        self.write = self._transport.write

    def data_received(self, data: bytes) -> None:
        for frame in self._splitter.receive(data):
            self._on_bytes(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.write = _dropped
        self._on_lost()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Line:
    """`take` gets what comes after the welcome; `lost` is called once when an open line breaks."""

    def __init__(
        self, user: str, token: str, wire: Wire, take: OnBytes, lost: Callable[[], None], source: str | None = None
    ) -> None:
        self._user = user
        self._token = token
        self._wire = wire
        self._handle = take
        self._on_lost = lost
        self._source = source  # the address to connect from
        self._pipe: Pipe | None = None
        self._greeting: asyncio.Future[pb.ServerFrame] | None = None
        self._live = False
        self._attempt = 0
        self._unwritten: list[bytes] = []
        self._call_soon = asyncio.get_running_loop().call_soon

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

    def write(self, data: bytes) -> None:
        """Whole frames, as the wire makes them; they go out at the end of this turn."""
        unwritten = self._unwritten
        if not unwritten:
            self._call_soon(self._flush)
        unwritten.append(data)

    def end(self, last: bytes) -> None:
        """Write this and close."""
        self.write(last)
        self._flush()
        self.close()

    def close(self) -> None:
        self._live = False
        if self._pipe is not None:
            self._pipe.close()

    def _flush(self) -> None:
        unwritten = self._unwritten
        if not unwritten or self._pipe is None:
            return  # the line was opened anew in between
        self._pipe.write(unwritten[0] if len(unwritten) == 1 else b"".join(unwritten))
        unwritten.clear()

    async def _greet(self, url: str, cursor: int, epoch: str) -> pb.ServerFrame:
        loop = asyncio.get_running_loop()
        self._greeting = loop.create_future()
        self._unwritten.clear()
        if self._pipe is not None:
            self._pipe.close()
        self._attempt = attempt = self._attempt + 1
        self._pipe = await self._connect(url, lambda: self._lost(attempt))
        hello = pb.Hello(
            token=self._token, device="bench", kind=pb.Hello.BOT, client="tidings-bench", cursor=cursor, epoch=epoch
        )
        self._pipe.write(self._wire.frame(pb.ClientFrame(hello=hello)))
        return await self._greeting

    async def _connect(self, url: str, on_lost: Callable[[], None]) -> Pipe:
        local = (self._source, 0) if self._source else None
        try:
            if url.startswith("tcp://"):
                host, _, port = url.removeprefix("tcp://").rpartition(":")
                _, tcp = await asyncio.get_running_loop().create_connection(
                    lambda: _Tcp(self._take, on_lost), host, int(port), local_addr=local
                )
                return tcp
            while True:
                try:
                    _, websocket = await ws_connect(
                        lambda: _WebSocket(self._take, on_lost),
                        url,
                        extra_headers={"Sec-WebSocket-Protocol": self._wire.codec.subprotocol},
                        max_frame_size=FRAME_BYTES_MAX,
                        read_buffer_init_size=READ_BYTES,
                        local_addr=local,
                    )
                except WSHandshakeError as refusal:
                    await asyncio.sleep(_pause_s(url, refusal))
                else:
                    assert isinstance(websocket, _WebSocket)
                    return websocket
        except OSError as error:
            raise Failure(f"{url} cannot be reached: {error}.") from error

    def _take(self, data: bytes) -> None:
        if self._live:
            self._handle(data)
            return
        if self._greeting is None or self._greeting.done():  # pushed behind the welcome, in the same turn
            self._handle(data)
            return
        try:
            self._greeting.set_result(self._wire.codec.decode_server(data))
        except Unparsable as error:
            self._greeting.set_exception(Failure(f"{self._user} was not understood: {error.message}."))

    def _lost(self, attempt: int) -> None:
        if attempt != self._attempt:
            return  # an earlier one
        if self._greeting is not None and not self._greeting.done():
            self._greeting.set_result(pb.ServerFrame(goodbye=pb.Goodbye(message="the connection broke")))
        elif self._live:
            self._live = False
            self._on_lost()


def _pause_s(url: str, refusal: WSHandshakeError) -> float:
    """Until the next try, as a node says that has too many new connections; raises Failure for any other refusal."""
    said = refusal.response.headers.get("Retry-After", "") if refusal.response is not None else ""
    if not said.isdigit():
        raise Failure(f"{url} does not let anyone in: {refusal}.") from refusal
    return float(said) * random.uniform(0.5, 1.5)


def _dropped(data: bytes) -> None:
    """The connection has ended: what is written now is sent again on the next."""


def _in_scheme(address: str) -> str:
    return address if "://" in address else f"tcp://{address}"
