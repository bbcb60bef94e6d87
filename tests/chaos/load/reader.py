"""A member of one large group on a bare TCP connection, which reads, or does not for a while.

When it reads again it does what docs/protocol.md asks of a slow consumer: what was on its way is taken in, a `sync`
makes live delivery go on, and `history` brings what was not delivered.

Guarantees: `show` is called once per message, in the order of the group.
Does not know: inboxes, who talks in the group, how many of its kind there are.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from tidings_protocol import client_pb2 as pb
from tidings_protocol.wire.framing import FrameSplitter, framed

FRAME_BYTES_MAX = 16 * 1024 * 1024
RECEIVE_BUFFER_BYTES = 16_384  # small, so that what waits waits at the server
PAGE = 200
DEVICE = "slow"
WELCOME_S = 15.0


class Ended(Exception):
    """The server ended the connection, or did not let it in."""


class Pipe(asyncio.Protocol):
    """One connection of a reader, which may have had others before."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._splitter = FrameSplitter(FRAME_BYTES_MAX)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._reader.opened(self, cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        for piece in self._splitter.receive(data):
            self._reader.take(pb.ServerFrame.FromString(piece))

    def connection_lost(self, exc: Exception | None) -> None:
        self._reader.lost(self, exc)


@dataclass(slots=True, eq=False)
class Reader:
    """`show` gets each message when it is its turn."""

    user: str
    token: str
    group: str
    show: Callable[[Reader, pb.Message], None]
    shown: int = 0  # the seq up to which all was shown
    paused: int = 0  # times that it was told so
    pages: int = 0
    goodbye: str = ""
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _pipe: Pipe | None = None
    _transport: asyncio.Transport | None = None
    _welcome: asyncio.Future[pb.ServerFrame] | None = None
    _ahead: dict[int, pb.Message] = field(default_factory=dict)
    _asking: int = 0
    _sent: dict[int, asyncio.Future[pb.ServerFrame]] = field(default_factory=dict)

    async def open(self, address: str) -> None:
        """Connects, and to where it is sent. Raises Ended, OSError, TimeoutError."""
        for _ in range(3):
            frame = await self._greet(address)
            if frame.WhichOneof("body") == "welcome":
                self.shown = frame.welcome.group_heads.get(self.group, self.shown)
                return
            self.goodbye, address = "", frame.goodbye.address
            if not address:
                raise Ended(f"{self.user} was not let in: {frame.goodbye.message}")
        raise Ended(f"{self.user} was sent around")

    def stop_reading(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def read_again(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()

    def ping(self) -> None:
        """Pings: also who does not read is alive."""
        self._say(pb.ClientFrame(id=next(self._ids), ping=pb.Ping()))

    async def send(self, client_id: str, text: str) -> pb.ServerFrame:
        """The reply, whatever it is."""
        request = next(self._ids)
        self._sent[request] = asyncio.get_running_loop().create_future()
        send = pb.Send(client_id=client_id, conversation=self.group, content=pb.Content(text=text))
        self._say(pb.ClientFrame(id=request, send=send))
        return await self._sent[request]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ---- what its connection calls

    def opened(self, pipe: Pipe, transport: asyncio.Transport) -> None:
        self._pipe, self._transport = pipe, transport
        hello = pb.Hello(token=self.token, device=DEVICE, kind=pb.Hello.MOBILE, client="slow/1")
        self._say(pb.ClientFrame(id=next(self._ids), hello=hello))

    def lost(self, pipe: Pipe, error: Exception | None) -> None:
        if pipe is self._pipe:
            self.goodbye = self.goodbye or f"the connection broke: {error!r}"

    def take(self, frame: pb.ServerFrame) -> None:
        match frame.WhichOneof("body"):
            case "welcome":
                self._tell(self._welcome, frame)
            case "goodbye":
                self.goodbye = f"goodbye {frame.goodbye.code}: {frame.goodbye.message}"
                self._tell(self._welcome, frame)
            case "deliver":
                for entry in frame.deliver.entries:
                    self._hold(entry.message)
                self._mend()
            case "lagging" if frame.lagging.paused:
                self.paused += 1
                self._say(pb.ClientFrame(id=next(self._ids), sync=pb.Sync(after=frame.lagging.inbox_head)))
            case "page":
                self._page(frame)
            case "pong":
                if frame.pong.group_heads.get(self.group, 0) > self.shown:
                    self._ask()
            case "sent" | "error":
                if frame.id == self._asking:
                    self._asking = 0
                self._tell(self._sent.pop(frame.id, None), frame)
            case _:
                pass

    # ---- inside

    async def _greet(self, address: str) -> pb.ServerFrame:
        loop = asyncio.get_running_loop()
        self.close()
        self._pipe, self._welcome = None, loop.create_future()
        host, _, port = address.rpartition(":")
        connecting = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        connecting.setblocking(False)
        await loop.sock_connect(connecting, (host, int(port)))
        await loop.create_connection(lambda: Pipe(self), sock=connecting)
        async with asyncio.timeout(WELCOME_S):
            return await self._welcome

    def _page(self, frame: pb.ServerFrame) -> None:
        """Takes a page of `history`; or of the `sync` after a pause: whatever was dropped before it is fetched now."""
        for entry in frame.page.entries:
            self._hold(entry.message)
        if frame.id != self._asking:
            self._ask()
            return
        self.pages += 1
        self._asking = 0
        if frame.page.more:
            self._ask()
        else:
            self._mend()

    def _ask(self) -> None:
        if not self._asking:
            self._asking = next(self._ids)
            history = pb.History(conversation=self.group, after=self.shown, limit=PAGE)
            self._say(pb.ClientFrame(id=self._asking, history=history))

    def _mend(self) -> None:
        """What lies between is missing."""
        if self._ahead:
            self._ask()

    def _hold(self, message: pb.Message) -> None:
        if message.conversation != self.group or message.seq <= self.shown:
            return
        self._ahead[message.seq] = message
        while (turn := self._ahead.pop(self.shown + 1, None)) is not None:
            self.shown += 1
            self.show(self, turn)

    def _say(self, frame: pb.ClientFrame) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(frame.SerializeToString()))

    @staticmethod
    def _tell(future: asyncio.Future[pb.ServerFrame] | None, frame: pb.ServerFrame) -> None:
        if future is not None and not future.done():
            future.set_result(frame)
