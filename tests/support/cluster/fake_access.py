"""An access node on real loopback sockets, WebSocket and TCP, in front of the model server of the unit tests.

The token is the user's name, or a JWT whose signature nobody checks. What a test wants to go wrong it scripts:
`on_hello` may answer with a goodbye, `refuse_http` refuses upgrades, `lose` swallows pushes, `late_s` says how much
later a push or an answer leaves, `cut` breaks every connection, `stop` frees the port.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.support.cluster.model_server import ModelServer, Session
from tidings_protocol import client_pb2 as pb
from tidings_protocol.close import reason_of
from tidings_protocol.wire.codec import CODECS, JSON, PROTO, Codec
from tidings_protocol.wire.framing import FrameSplitter, framed


@dataclass(eq=False, slots=True)
class Line:
    """One connection: frames for the client leave in order by one writer."""

    codec: Codec
    outgoing: asyncio.Queue[pb.ServerFrame | bytes | None] = field(default_factory=asyncio.Queue)
    session: Session | None = None


class FakeAccess:
    def __init__(self, server: ModelServer, name: str = "access-0") -> None:
        self.server = server
        self.name = name
        self.on_hello: Callable[[pb.Hello], pb.ServerFrame | None] = lambda _hello: None
        self.refuse_http: list[Response] = []
        self.lose: Callable[[pb.ServerFrame], bool] = lambda _frame: False
        self.late_s: Callable[[pb.ServerFrame], float] = lambda _frame: 0.0
        self.hellos: list[pb.Hello] = []
        self.greeted = asyncio.Event()
        self.lines: list[Line] = []
        self.ws = ""
        self.tcp = ""
        self._stack = AsyncExitStack()
        self._writers: list[asyncio.StreamWriter] = []
        self._websockets: Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, ws_port: int = 0) -> None:
        self._websockets = await self._stack.enter_async_context(
            serve(
                self._on_websocket,
                "127.0.0.1",
                ws_port,
                subprotocols=[Subprotocol(name) for name in CODECS],
                process_request=self._process_request,
                ping_interval=None,
                close_timeout=0.2,
            )
        )
        tcp = await self._stack.enter_async_context(await asyncio.start_server(self._on_tcp, "127.0.0.1", 0))
        self.ws = f"ws://127.0.0.1:{next(iter(self._websockets.sockets)).getsockname()[1]}/v1/ws"
        self.tcp = f"127.0.0.1:{tcp.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Stops as if the process had died."""
        self.cut()
        await self._stack.aclose()

    def cut(self) -> None:
        """Every connection breaks without a word."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        if self._websockets is not None:
            for connection in self._websockets.connections:
                connection.transport.abort()
        for line in self.lines:
            self._hang_up(line)
        self.lines.clear()

    def say(self, frame: pb.ServerFrame) -> None:
        """Says it to every connection."""
        for line in self.lines:
            line.outgoing.put_nowait(frame)

    def say_bytes(self, *, proto: bytes, json: str) -> None:
        """Says to every connection, in its codec, what the present description of the frames cannot say."""
        for line in self.lines:
            line.outgoing.put_nowait(proto if line.codec is PROTO else json.encode())

    def goodbye(self, code: int, *, address: str = "", retry_after_ms: int = 0) -> None:
        self.say(reason_of(code).goodbye(address=address, retry_after_ms=retry_after_ms))

    # WebSocket

    def _process_request(self, _connection: ServerConnection, _request: Request) -> Response | None:
        return self.refuse_http.pop(0) if self.refuse_http else None

    async def _on_websocket(self, connection: ServerConnection) -> None:
        codec = CODECS[connection.subprotocol] if connection.subprotocol else JSON

        async def read() -> AsyncIterator[bytes]:
            async for data in connection:
                yield data if isinstance(data, bytes) else data.encode()

        async def write(data: bytes) -> None:
            await connection.send(data, text=not codec.binary)

        with contextlib.suppress(ConnectionClosed):
            code = await self._converse(codec, read(), write)
            await connection.close(code)

    # TCP

    async def _on_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        splitter = FrameSplitter(1 << 20)

        async def read() -> AsyncIterator[bytes]:
            while chunk := await reader.read(65536):
                for frame in splitter.receive(chunk):
                    yield frame

        async def write(data: bytes) -> None:
            writer.write(framed(data))
            await writer.drain()

        with contextlib.suppress(OSError):
            await self._converse(PROTO, read(), write)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    # Both

    async def _converse(self, codec: Codec, incoming: AsyncIterator[bytes], write: Callable[[bytes], object]) -> int:
        """Until one side ends it; the close code."""
        line = Line(codec)
        self.lines.append(line)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read(line, incoming))
            try:
                return await self._write(line, write)
            finally:
                reading.cancel()
                self._hang_up(line)

    async def _read(self, line: Line, incoming: AsyncIterator[bytes]) -> None:
        try:
            async for data in incoming:
                self._take(line, line.codec.decode_client(data))
        except (ConnectionClosed, OSError):
            pass  # the client broke off: the writer is told below
        line.outgoing.put_nowait(None)

    def _take(self, line: Line, frame: pb.ClientFrame) -> None:
        if frame.HasField("bye"):
            line.outgoing.put_nowait(None)
        elif frame.HasField("hello"):
            self._greet(line, frame)
        elif line.session is not None:
            reply = self.server.answer(line.session, frame)
            if reply is not None:
                self._put(line, reply)

    def _greet(self, line: Line, frame: pb.ClientFrame) -> None:
        hello = frame.hello
        self.hellos.append(hello)
        refusal = self.on_hello(hello)
        if refusal is not None:
            line.outgoing.put_nowait(refusal)
            return

        def push(frame: pb.ServerFrame) -> None:
            if not self.lose(frame):
                self._put(line, frame)

        line.session, welcome = self.server.hello(hello, push, _user_of(hello.token), self.name)
        welcome.id = frame.id
        line.outgoing.put_nowait(welcome)
        self.greeted.set()

    def _put(self, line: Line, frame: pb.ServerFrame) -> None:
        late_s = self.late_s(frame)
        if late_s:
            asyncio.get_running_loop().call_later(late_s, line.outgoing.put_nowait, frame)
        else:
            line.outgoing.put_nowait(frame)

    async def _write(self, line: Line, write: Callable[[bytes], object]) -> int:
        while (frame := await line.outgoing.get()) is not None:
            sent = write(frame if isinstance(frame, bytes) else line.codec.encode_server(frame))
            assert asyncio.iscoroutine(sent)
            await sent
            if not isinstance(frame, bytes) and frame.HasField("goodbye"):
                return frame.goodbye.code
        return 1000

    def _hang_up(self, line: Line) -> None:
        if line.session is not None:
            self.server.end(line.session)
        line.outgoing.put_nowait(None)


def _user_of(token: str) -> str:
    if token.count(".") != 2:
        return token
    payload = token.split(".")[1]
    user: str = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
    return user


def busy(retry_after_s: int) -> Response:
    """HTTP 503, as an access node answers a storm."""
    return Response(
        HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable", Headers({"Retry-After": str(retry_after_s)}), b"busy"
    )
