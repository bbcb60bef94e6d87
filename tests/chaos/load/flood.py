"""A process that sends as much as it is told to, whatever the answers are: pairs of users who write to each other.

Driven by JSON lines on standard input (see `Flood.obey`). What is answered OVERLOADED is given up and counted; what is
answered UNAVAILABLE, or not at all because the connection broke, may have been stored, so it is sent again with its
client id until it is answered, as a client must.

Guarantees: every message is accounted for, by the load generator's ledger: acknowledged ones must arrive, once, and in
the order in which they were sent (but for those that went out again). Times are from the moment in which a message was
written to its connection.
Does not know: how much the cluster carries.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import uvloop

from tests.support.load.worker import now, say
from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import direct
from tools.bench.accounts.ledger import Ledger
from tools.bench.users.frames import TCP
from tools.bench.users.line import Line
from tools.cli.failure import Failure

OPENING_AT_ONCE = 20
LOOK_S = 0.2
PING_S = 10.0
TICK_S = 0.005
BURST_S = 0.1  # who falls behind by more sends less, not in a burst
SYNC_S = 30.0
REOPEN_S = 0.3
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Task:
    """`tokens` by user, in pairs: users 0 and 1 write to each other, 2 and 3, and so on."""

    name: str
    urls: list[str]
    tokens: list[tuple[str, str]]
    size_bytes: int


TIMES = ("acknowledged_ms", "arrived_ms", "refused_ms", "retry_ms")


@dataclass(slots=True)
class Span:
    """What happened since it was last told. Times in milliseconds."""

    since: float
    sent: int = 0
    acknowledged_ms: array[float] = field(default_factory=lambda: array("d"))
    arrived_ms: array[float] = field(default_factory=lambda: array("d"))
    refused: Counter[str] = field(default_factory=Counter)
    refused_ms: array[float] = field(default_factory=lambda: array("d"))  # until the refusal
    retry_ms: array[float] = field(default_factory=lambda: array("d"))  # what a refusal told
    refused_at: float = 0.0  # the last one


class Peer:
    """One user: sends to the other of its pair and receives what that one sends."""

    def __init__(self, flood: Flood, user: str, token: str, other: str) -> None:
        self.user = user
        self.ledger = Ledger()  # of what this one sends
        self.under_way: dict[int, tuple[int, float]] = {}  # request id -> (number, when it was written)
        self.partner: Peer = self
        self.url = ""
        self._flood = flood
        self._conversation = direct(user, other)
        self._line = Line(user, token, TCP, self._receive, self._lost)
        self._live = False
        self._numbers = itertools.count()
        self._ids = itertools.count(1)
        self._ahead: set[int] = set()
        self._cursor = 0
        self._acked = 0
        self._epoch = ""
        self._spoke = 0.0
        self._page: asyncio.Future[pb.Page | None] | None = None
        self._page_request = 0

    async def open(self) -> None:
        """Again too: what has no answer goes out once more, with the same client ids."""
        welcome = await self._line.open(self.url, self._cursor, self._epoch)
        self._epoch, self._live, self._spoke = welcome.epoch, True, now()
        waiting, self.under_way = sorted(self.under_way.values()), {}
        for number, _ in waiting:
            self._post_again(number)

    def close(self) -> None:
        self._line.close()

    def send(self) -> None:
        """The next message."""
        self._post(next(self._numbers))

    def look(self, at: float) -> None:
        """Acknowledge what is held; say something before the server wonders."""
        if self._cursor > self._acked:
            self._acked, self._spoke = self._cursor, at
            self._say(pb.ClientFrame(ack=pb.Ack(number=self._acked)))
        elif at - self._spoke > PING_S:
            self._spoke = at
            self._say(pb.ClientFrame(ping=pb.Ping()))

    async def sync(self) -> None:
        """Fetches what did not arrive; a page that is refused, or whose connection ended, is asked for again. Raises
        TimeoutError."""
        more = True
        async with asyncio.timeout(SYNC_S):
            while more:
                page = await self._ask_page()
                if page is None:
                    await asyncio.sleep(REOPEN_S)
                    continue
                for entry in page.entries:
                    self._arrive(entry, live=False)
                more = page.more

    async def _ask_page(self) -> pb.Page | None:
        self._page, self._page_request = asyncio.get_running_loop().create_future(), next(self._ids)
        if not self._live:
            return None
        self._say(pb.ClientFrame(id=self._page_request, sync=pb.Sync(after=self._cursor, limit=500)))
        return await self._page

    def _end_page(self, page: pb.Page | None) -> None:
        if self._page is not None and not self._page.done():
            self._page.set_result(page)

    def _post_again(self, number: int) -> None:
        self.ledger.send_again(number)
        self._post(number)

    def _post(self, number: int) -> None:
        request, at = next(self._ids), now()
        self.under_way[request] = number, at
        text = f"{number} {at:.6f} ".ljust(self._flood.size_bytes, "x")
        send = pb.Send(
            client_id=f"{self._flood.name}-{number}", conversation=self._conversation, content=pb.Content(text=text)
        )
        self._say(pb.ClientFrame(id=request, send=send))

    def _say(self, frame: pb.ClientFrame) -> None:
        """While there is no connection a send waits for the next one."""
        if self._live:
            self._line.write(TCP.frame(frame))

    def _lost(self) -> None:
        self._live = False
        self._end_page(None)
        self._flood.broken.put_nowait(self)

    def _receive(self, data: bytes) -> None:
        frame = pb.ServerFrame.FromString(data)
        match frame.WhichOneof("body"):
            case "deliver":
                for entry in frame.deliver.entries:
                    self._arrive(entry, live=True)
            case "sent":
                self._hold(frame.sent.number)
                number, at = self.under_way.pop(frame.id, (0, 0.0))
                if at and self.ledger.acknowledge(number, frame.sent.seq):
                    self._flood.span.acknowledged_ms.append((now() - at) * 1000)
                    self._flood.acknowledged(self)
            case "error":
                self._refused(frame.id, frame.error)
            case "page":
                self._end_page(frame.page)
            case "lagging":
                self._flood.span.refused["LAGGING"] += 1
                self._flood.to_sync.add(self)
            case "goodbye":
                self.url = tcp_url(frame.goodbye.address) or self.url
                self._flood.span.refused[f"GOODBYE_{frame.goodbye.code}"] += 1
            case _:
                pass

    def _refused(self, request: int, error: pb.Error) -> None:
        span = self._flood.span
        span.refused[error.code] += 1
        if request == self._page_request:
            self._end_page(None)
        number, at = self.under_way.pop(request, (0, 0.0))
        if not at:
            return
        if error.code == "OVERLOADED":
            span.refused_at = now()
            span.refused_ms.append((span.refused_at - at) * 1000)
            span.retry_ms.append(error.retry_after_ms)
            self._flood.refused(self, error.retry_after_ms / 1000)
            return
        if not error.retry_after_ms:
            raise RuntimeError(f"{self.user} was refused for good: {error.code} {error.message}")
        self.under_way[-request] = number, at  # it still counts as under way

        def again() -> None:
            if self.under_way.pop(-request, None) is not None:
                self._post_again(number)

        asyncio.get_running_loop().call_later(error.retry_after_ms / 1000, again)

    def _arrive(self, entry: pb.Entry, *, live: bool) -> None:
        self._hold(entry.number)
        if entry.message.sender == self.user:
            return
        number, at, _ = entry.message.content.text.split(" ", 2)
        if self.partner.ledger.arrive(int(number), entry.message.seq) and live:
            self._flood.span.arrived_ms.append((now() - float(at)) * 1000)

    def _hold(self, number: int) -> None:
        if number > self._cursor:
            self._ahead.add(number)
            while self._cursor + 1 in self._ahead:
                self._cursor += 1
                self._ahead.remove(self._cursor)


class Flood:
    def __init__(self, task: Task) -> None:
        self.name = task.name
        self.size_bytes = task.size_bytes
        self.span = Span(now())
        self.broken: asyncio.Queue[Peer] = asyncio.Queue(len(task.tokens))
        self.to_sync: set[Peer] = set()
        self._window = 0
        self._rate = 0.0
        self.peers = [
            Peer(self, user, token, task.tokens[index ^ 1][0]) for index, (user, token) in enumerate(task.tokens)
        ]
        for index, peer in enumerate(self.peers):
            peer.partner = self.peers[index ^ 1]
            peer.url = task.urls[index % len(task.urls)]

    async def run(self, orders: asyncio.StreamReader) -> None:
        async with asyncio.TaskGroup() as group:
            work = (self._look(), self._sync(), self._mend(), self._send_at_rate())
            tasks = [group.create_task(each) for each in work]
            while line := await orders.readline():
                order = msgspec.json.decode(line)
                if order["do"] == "quit":
                    break
                say({"done": order["do"], **await self.obey(order)})
            for task in tasks:
                task.cancel()
        for peer in self.peers:
            peer.close()
        say({"done": "quit"})

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order:
            case {"do": "connect"}:
                await self._connect()
                return {}
            case {"do": "window", "window": window}:
                self._rate, self._window = 0.0, int(window)
                for peer in self.peers:
                    for _ in range(self._window):
                        peer.send()
                return {}
            case {"do": "rate", "rate": rate}:
                self._rate, self._window = float(rate), 0
                return {}
            case {"do": "span"}:
                return {"span": self._told()}
            case {"do": "finish", "timeout_s": timeout_s}:
                return {"account": await self._finish(timeout_s)}
            case _:
                raise ValueError(f"an order that nobody knows: {order}")

    def acknowledged(self, peer: Peer) -> None:
        """Counts an acknowledgement; in a closed loop the next send goes out."""
        if self._window and len(peer.under_way) < self._window:
            peer.send()
            self.span.sent += 1

    def refused(self, peer: Peer, retry_s: float) -> None:
        """Counts a refusal; in a closed loop the next send goes out when there is room again."""
        if self._window:
            asyncio.get_running_loop().call_later(retry_s, self.acknowledged, peer)

    async def _connect(self) -> None:
        places = asyncio.Semaphore(OPENING_AT_ONCE)

        async def open_one(peer: Peer) -> None:
            async with places:
                await peer.open()

        async with asyncio.TaskGroup() as group:
            for peer in self.peers:
                group.create_task(open_one(peer))

    async def _send_at_rate(self) -> None:
        due, peers = now(), itertools.cycle(self.peers)
        while True:
            await asyncio.sleep(TICK_S)
            if not self._rate:
                due = now()
                continue
            due = max(due, now() - BURST_S)
            while due <= now():
                due += 1.0 / self._rate
                next(peers).send()
                self.span.sent += 1

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            at = now()
            for peer in self.peers:
                peer.look(at)

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            while self.to_sync:
                peer = self.to_sync.pop()
                try:
                    await peer.sync()
                except TimeoutError:
                    # Under overload that may be: it is asked again, and in the silence at the end it must be answered.
                    self.span.refused["SYNC_LATE"] += 1
                    self.to_sync.add(peer)
                    break

    async def _mend(self) -> None:
        while True:
            peer = await self.broken.get()
            await asyncio.sleep(REOPEN_S)
            try:
                await peer.open()
            except Failure:
                # A node that is starved of its processors for longer than its lease lets nobody in for a moment. The
                # silence at the end has a bound, and by then everybody must be back.
                self.span.refused["NOT_LET_IN"] += 1
                self.broken.put_nowait(peer)

    async def _finish(self, timeout_s: float) -> dict[str, int]:
        """Silence; every send has its answer, every user what is its own."""
        self._rate, self._window = 0.0, 0
        await _until(lambda: not any(peer.under_way for peer in self.peers), timeout_s)
        for peer in self.peers:
            await peer.sync()
        return {
            "acknowledged": sum(peer.ledger.acknowledged for peer in self.peers),
            "arrived": sum(peer.ledger.arrived for peer in self.peers),
            "again": sum(len(peer.ledger.sent_again) for peer in self.peers),
            "lost": sum(peer.ledger.missing for peer in self.peers),
            "doubled": sum(peer.ledger.doubled for peer in self.peers),
            "misordered": sum(peer.ledger.misordered for peer in self.peers),
            "unanswered": sum(len(peer.under_way) for peer in self.peers),
        }

    def _told(self) -> dict[str, Any]:
        span, self.span = self.span, Span(now())
        return {
            "since": span.since,
            "until": self.span.since,
            "sent": span.sent,
            "refused": span.refused,
            "refused_at": span.refused_at,
            **{name: [round(value, 1) for value in getattr(span, name)] for name in TIMES},
        }


def tcp_url(address: str) -> str:
    return f"tcp://{address}" if address else ""


async def _until(there: Callable[[], bool], timeout_s: float) -> None:
    """Or until the time is over: what is missing then is counted."""
    until = now() + timeout_s
    while not there() and now() < until:  # noqa: ASYNC110  # looking is cheap, and nothing else tells
        await asyncio.sleep(POLL_S)


async def main() -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin.buffer)
    task = msgspec.json.decode(await orders.readline(), type=Task)
    await Flood(task).run(orders)


if __name__ == "__main__":
    uvloop.run(main())
