"""One user of the load generator: holds what arrives, acknowledges it, and comes back when its line breaks.

What it sends and what that means is a workload's: it gives `on_sent`, `on_entries` and, if it sends, `send_again`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Protocol

from tidings_protocol import client_pb2 as pb
from tools.bench.users.frames import MARK_DIGITS, SIGNAL, Wire, acks
from tools.bench.users.line import Line
from tools.bench.users.scan import Entry, Page, Scanner
from tools.cli.failure import Failure

PING_S = 10.0
ACK_S = 0.2  # a device acknowledges at most so often
REPLY_S = 20.0
ASKING_S = 120.0  # with what is asked again
PAGE_ENTRIES = 500


class Host(Protocol):
    """What a user tells its process."""

    def count_error(self, code: str) -> None: ...

    def refuse(self, user: User, error: pb.Error) -> None:
        """An answer that nobody waits for, and no retry."""

    def lag(self, user: User) -> None:
        """The server has more for it."""

    def lose(self, user: User) -> None:
        """The line of this user broke."""


class User:
    """What all kinds of users share. Abstract."""

    def __init__(self, host: Host, name: str, token: str, wire: Wire, scan: Scanner, source: str | None = None) -> None:
        self.name = name
        self.heartbeat_s = PING_S
        self.wire = wire
        self.line = Line(name, token, wire, self._take, lambda: host.lose(self), source)
        self._host = host
        self._scan_sent, self._scan_entries, self._scan_page, self._scan_signal, self._skipped = scan
        self._make_ack = acks(wire)
        self._ping = wire.frame(pb.ClientFrame(ping=pb.Ping()))
        self._early: set[int] = set()
        self._cursor = 0
        self._acked = 0
        self._acked_at = 0.0
        self._epoch = ""
        self._url = ""
        self._ids = itertools.count(1)
        self._spoke = 0.0
        self._waiting: dict[int, asyncio.Future[pb.ServerFrame | Page]] = {}

    # ---- for the workload

    def on_sent(self, number: int, seq: int) -> None:
        """A send was acknowledged."""

    def on_entries(self, entries: Sequence[Entry], now: float | None) -> int:
        """Messages of this run arrived; how many are new. `now` None: by sync, so it says nothing about latency."""
        raise NotImplementedError

    def on_refused(self, number: int, error: pb.Error) -> None:
        """A send was refused for now."""

    def on_signal(self, mark: int, now: float) -> None:
        """A signal of this run arrived."""

    def send_again(self) -> None:
        """What has no answer."""

    # ---- for the process

    async def open(self, url: str) -> pb.Welcome:
        self._url = url
        welcome = await self.line.open(url, self._cursor, self._epoch)
        self._spoke = time.monotonic()
        if not self._epoch:
            self._cursor = self._acked = welcome.inbox_head
        self._epoch = welcome.epoch
        return welcome

    async def reopen(self) -> None:
        """A new connection; what has no answer is sent again with the same client ids."""
        await self.open(self._url)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Failure(f"{self.name} lost its connection."))
        self.send_again()
        self._host.lag(self)

    @property
    def cursor(self) -> int:
        """The number up to which this user holds the inbox."""
        return self._cursor

    def arrive(self, entries: Sequence[Entry], now: float | None) -> int:
        """Hold them and have them counted; how many are new."""
        for inbox, _, _ in entries:
            if inbox == self._cursor + 1 and not self._early:
                self._cursor = inbox
            elif inbox:
                self._hold(inbox)
        return self.on_entries(entries, now)

    def leave(self) -> None:
        """Say goodbye and close."""
        self.line.end(self.wire.frame(pb.ClientFrame(bye=pb.Bye())))

    def close(self) -> None:
        self.line.close()

    def refresh(self, now: float) -> None:
        """Acknowledge what is held; say something before the server wonders."""
        if not self._spoke:
            return  # it is not in yet
        if self._cursor > self._acked:
            if now - self._acked_at >= ACK_S:
                self._acked, self._acked_at = self._cursor, now
                self.line.write(self._make_ack(self._acked))
                self._spoke = now
        elif now - self._spoke > self.heartbeat_s:
            self.line.write(self._ping)
            self._spoke = now

    async def ask(self, frame: pb.ClientFrame) -> pb.ServerFrame:
        """The reply. Raises Failure, TimeoutError."""
        reply = await self._reply(frame)
        assert isinstance(reply, pb.ServerFrame)
        return reply

    async def fetch(self, frame: pb.ClientFrame) -> Page:
        """The reply to what asks for a page of messages. Raises Failure, TimeoutError."""
        reply = await self._reply(frame)
        if isinstance(reply, Page):
            return reply
        return Page(reply.id, self._read(reply.page.entries), reply.page.more)

    async def sync(self) -> int:
        """Fetch what did not arrive; how much of it came. Raises Failure, TimeoutError."""
        came, more = 0, True
        while more:
            before = self._cursor
            page = await self.fetch(pb.ClientFrame(sync=pb.Sync(after=before, limit=PAGE_ENTRIES)))
            came += self.arrive(page.entries, None)
            more = page.more and self._cursor > before
        return came

    # ---- inside

    async def _reply(self, frame: pb.ClientFrame) -> pb.ServerFrame | Page:
        """What is refused for now is asked again, as a client must."""
        end = time.monotonic() + ASKING_S
        while time.monotonic() < end:
            try:
                reply = await self._answer_to(frame)
            except TimeoutError:
                self._host.count_error("NO_ANSWER")
                continue
            if isinstance(reply, Page) or not reply.HasField("error"):
                return reply
            self._host.count_error(reply.error.code)
            if not reply.error.retry_after_ms:
                raise Failure(f"{self.name} was refused: {reply.error.message} ({reply.error.code}).")
            await asyncio.sleep(reply.error.retry_after_ms / 1000)
        raise Failure(f"{self.name} got no answer within {ASKING_S:g} s.")

    async def _answer_to(self, frame: pb.ClientFrame) -> pb.ServerFrame | Page:
        frame.id = next(self._ids)
        future: asyncio.Future[pb.ServerFrame | Page] = asyncio.get_running_loop().create_future()
        self._waiting[frame.id] = future
        self.line.write(self.wire.frame(frame))
        try:
            async with asyncio.timeout(REPLY_S):
                return await future
        finally:
            self._waiting.pop(frame.id, None)

    def _take(self, data: bytes) -> None:
        if sent := self._scan_sent(data):
            number, seq, inbox = sent
            if inbox:
                self._hold(inbox)
            self.on_sent(number, seq)
        elif entries := self._scan_entries(data):
            self.arrive(entries, time.monotonic())
        elif data.startswith(self._skipped):
            pass
        elif (mark := self._scan_signal(data)) is not None:
            self.on_signal(mark, time.monotonic())
        elif page := self._scan_page(data):
            self._answer(page.request, page)
        else:
            self._take_other(self.wire.codec.decode_server(data))

    def _take_other(self, frame: pb.ServerFrame) -> None:
        if frame.id and self._answer(frame.id, frame):
            return
        match frame.WhichOneof("body"):
            case "deliver":
                self.arrive(self._read(frame.deliver.entries), time.monotonic())
            case "sent":
                if frame.sent.number:
                    self._hold(frame.sent.number)
                self.on_sent(_number_of(frame.sent.client_id), frame.sent.seq)
            case "error":
                self._host.count_error(frame.error.code)
                if frame.error.retry_after_ms:
                    self.on_refused(frame.id, frame.error)
                else:
                    self._host.refuse(self, frame.error)
            case "signal":
                if frame.signal.name == SIGNAL:
                    self.on_signal(int(frame.signal.data), time.monotonic())
            case "lagging":
                self._host.count_error("LAGGING")
                self._host.lag(self)
            case "goodbye":
                self._host.count_error(f"GOODBYE_{frame.goodbye.code}")
                self._url = frame.goodbye.address or self._url
            case _:
                pass

    def _answer(self, request: int, reply: pb.ServerFrame | Page) -> bool:
        """Whether somebody waits for it."""
        future = self._waiting.get(request)
        if future is None:
            return False
        if not future.done():
            future.set_result(reply)
        return True

    def _read(self, entries: Sequence[pb.Entry]) -> list[Entry]:
        """Those of this run; what is not is held and no more."""
        read: list[Entry] = []
        for entry in entries:
            mark = entry.message.content.text[:MARK_DIGITS]
            if len(mark) == MARK_DIGITS and mark.isdecimal():
                read.append((entry.number, entry.message.seq, int(mark)))
            elif entry.number:
                self._hold(entry.number)
        return read

    def _hold(self, number: int) -> None:
        if number <= self._cursor:
            return
        early = self._early
        early.add(number)
        while self._cursor + 1 in early:
            self._cursor += 1
            early.discard(self._cursor)


def _number_of(client_id: str) -> int:
    return int(client_id.rpartition("-")[2])
