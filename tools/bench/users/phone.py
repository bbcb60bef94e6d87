"""One connection of a crowd: WebSocket and protobuf by hand, to be held by the hundred thousand.

It opens, says hello as a mobile client, holds what arrives, and acknowledges it. The users of the other loads
(user.py, line.py) can do more, and cost some ten times the memory.

Guarantees: what was pushed behind the welcome is not lost; an end is told once, and only of a connection that was open.
Does not know: when it is time for its heartbeat, what messages mean.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast
from urllib.parse import urlsplit

from tidings_protocol import client_pb2 as pb
from tidings_protocol.wire.codec import PROTO
from tools.bench.users.frames import WS_PROTO, acks, masked
from tools.bench.users.web_socket import BINARY, CLOSE, PING, PONG, Frame, Upgraded, is_one, split, upgrade, upgraded
from tools.cli.failure import Failure

OPEN_S = 30.0
RETRY_S = 1.0
HTTP_PORT = 80
PAGE_ENTRIES = 500
SYNC_ID = 1  # of its requests for a page; one is under way at a time

_PING = WS_PROTO.frame(pb.ClientFrame(ping=pb.Ping(idle=True)))
_ack = acks(WS_PROTO)
_NEVER_IN = -1


class TurnedAway(Exception):
    """Nobody let it in this time. `address`: where it is to go instead; else it comes again after `retry_s`."""

    def __init__(self, why: str, retry_s: float, address: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.retry_s = retry_s
        self.address = address


class Exchange(Protocol):
    """What a phone tells its process."""

    def take(self, phone: Phone, payload: bytes) -> None:
        """A frame behind the welcome."""

    def lose(self, phone: Phone) -> None:
        """A connection that was open ended."""


class Phone(asyncio.Protocol):
    """`number` is its place among those of its process."""

    __slots__ = (
        "_acked", "_cursor", "_early", "_exchange", "_greeting", "_is_open", "_rest", "_transport", "_upgrading",
        "number",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, number: int) -> None:
        self.number = number
        self._exchange = exchange
        self._transport: asyncio.Transport | None = None
        self._upgrading: asyncio.Future[Upgraded] | None = None
        self._greeting: asyncio.Future[pb.ServerFrame] | None = None
        self._is_open = False
        self._rest = b""
        self._cursor = self._acked = _NEVER_IN
        self._early: set[int] | None = None

    # ---- for the process

    @property
    def is_open(self) -> bool:
        return self._is_open

    async def open(self, url: str, token: str, epoch: str, source: str | None) -> pb.Welcome:
        """Raises TurnedAway, or Failure when it is no use to try again."""
        try:
            async with asyncio.timeout(OPEN_S):
                await self._connect(url, source)
                return await self._greet(token, epoch)
        except (TimeoutError, ConnectionError) as error:
            raise TurnedAway("NOT_REACHED", RETRY_S) from error
        except OSError as error:
            raise Failure(f"{url} cannot be reached: {error}.") from error
        finally:
            self._upgrading = self._greeting = None
            if not self._is_open:
                self.close()

    def write(self, data: bytes) -> None:
        """Whole frames. One that is not open drops them: they are sent again on its next connection."""
        if self._is_open:
            assert self._transport is not None
            self._transport.write(data)

    def ping(self) -> None:
        """Its heartbeat, which says that nobody looks at it: the long interval holds."""
        self.write(_PING)

    def acknowledge(self) -> None:
        """Acknowledges what it holds, if that is more than the last time."""
        if self._cursor > self._acked and self._is_open:
            self._acked = self._cursor
            self.write(_ack(self._cursor))

    def sync(self) -> None:
        """Asks for what it lacks; the page comes as a frame."""
        asked = pb.Sync(after=self._cursor, limit=PAGE_ENTRIES)
        self.write(WS_PROTO.frame(pb.ClientFrame(id=SYNC_ID, sync=asked)))

    def hold(self, number: int) -> None:
        """Takes an inbox entry in."""
        if number == self._cursor + 1 and not self._early:
            self._cursor = number
        elif number > self._cursor:
            early = self._early = self._early or set()
            early.add(number)
            while self._cursor + 1 in early:
                self._cursor += 1
                early.discard(self._cursor)

    def close(self) -> None:
        self._is_open = False
        if self._transport is not None:
            self._transport.abort()

    # ---- for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not of this class
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        if self._is_open and not self._rest and is_one(data):  # nearly always
            self._exchange.take(self, data[2:])
            return
        data = self._rest + data
        if self._upgrading is not None:
            self._rest = self._take_answer(data)
        else:
            frames, self._rest = split(data)
            for frame in frames:
                self._receive(frame)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._transport = None
        for waiting in (self._upgrading, self._greeting):
            if waiting is not None and not waiting.done():
                waiting.set_exception(ConnectionResetError("the connection broke"))
        if self._is_open:
            self._is_open = False
            self._exchange.lose(self)

    # ---- inside

    async def _connect(self, url: str, source: str | None) -> None:
        place, loop = urlsplit(url), asyncio.get_running_loop()
        self._upgrading = loop.create_future()
        local = (source, 0) if source else None
        await loop.create_connection(lambda: self, place.hostname or "", place.port or HTTP_PORT, local_addr=local)
        self._say(upgrade(place.netloc, place.path, PROTO.subprotocol))
        answer = await self._upgrading
        if answer.is_done:
            return
        if answer.retry_s is None:
            raise Failure(f"{url} does not let anyone in: it answers {answer.status}.")
        raise TurnedAway("TOLD_TO_WAIT", answer.retry_s)

    async def _greet(self, token: str, epoch: str) -> pb.Welcome:
        cursor = max(0, self._cursor)
        hello = pb.Hello(
            token=token, device="bench", kind=pb.Hello.MOBILE, client="tidings-bench", cursor=cursor, epoch=epoch
        )
        if self._transport is None:
            raise ConnectionResetError("the connection broke")
        self._greeting = asyncio.get_running_loop().create_future()
        self._say(WS_PROTO.frame(pb.ClientFrame(hello=hello)))
        reply = await self._greeting
        if reply.HasField("welcome"):
            return reply.welcome
        goodbye = reply.goodbye
        raise TurnedAway(f"GOODBYE_{goodbye.code}", goodbye.retry_after_ms / 1000, goodbye.address)

    def _say(self, data: bytes) -> None:
        """If the connection broke already, who waits for the answer was told."""
        if self._transport is not None:
            self._transport.write(data)

    def _take_answer(self, data: bytes) -> bytes:
        """What is left behind the answer to the upgrade; all of it while that is not there whole."""
        answer = upgraded(data)
        if answer is None:
            return data
        assert self._upgrading is not None
        self._upgrading.set_result(answer)
        self._upgrading = None
        return answer.rest

    def _receive(self, frame: Frame) -> None:
        if frame.first == BINARY and self._is_open:
            self._exchange.take(self, frame.payload)
        elif frame.first == BINARY and self._greeting is not None and not self._greeting.done():
            self._greeting.set_result(self._greeted(PROTO.decode_server(frame.payload)))
        elif frame.first == PING and self._transport is not None:
            self._transport.write(masked(frame.payload, PONG))
        elif frame.first == CLOSE and self._transport is not None:
            self._transport.close()

    def _greeted(self, reply: pb.ServerFrame) -> pb.ServerFrame:
        """It is open from here on: more may stand behind the welcome."""
        self._is_open = reply.HasField("welcome")
        if self._is_open and self._cursor == _NEVER_IN:
            self._cursor = self._acked = reply.welcome.inbox_head
        return reply
