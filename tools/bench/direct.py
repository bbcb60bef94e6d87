"""The workload `direct`: pairs of users write to each other, and every message is accounted for.

Closed loop: each user has `window` sends without an answer, the next goes out with each answer. Open loop: messages
go out at their times; one that has to wait (for its user's line) still counts from the time it should have gone out.
What is refused for now is sent again with the same client id, as a client must.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from protos.tidings.v1 import client_pb2 as pb
from services.common.ids import direct
from tools.bench.ledger import Ledger, Tally
from tools.bench.line import Line
from tools.bench.plan import Share
from tools.failure import Failure

OPENING_AT_ONCE = 20
ACK_S = 0.2
PING_S = 10.0
SETTLE_S = 20.0
ARRIVE_S = 5.0
OPEN_WINDOW = 200
RETRY_S = 0.2
POLL_S = 0.1


@dataclass(slots=True)
class Samples:
    """Milliseconds, of messages that were due between the end of the warm-up and the end of the measurement."""

    begin: float
    end: float
    acknowledged_ms: array[float] = field(default_factory=lambda: array("d"))
    delivered_ms: array[float] = field(default_factory=lambda: array("d"))
    acknowledged_in_time: int = 0
    delivered_in_time: int = 0

    def acknowledge(self, due: float, now: float) -> None:
        self.acknowledged_in_time += self.begin <= now < self.end
        if self.begin <= due < self.end:
            self.acknowledged_ms.append((now - due) * 1000)

    def deliver(self, due: float, now: float) -> None:
        self.delivered_in_time += self.begin <= now < self.end
        if self.begin <= due < self.end:
            self.delivered_ms.append((now - due) * 1000)


class Peer:
    """One user: sends to the other of its pair, and receives what that one sends."""

    def __init__(self, run: DirectRun, user: str, token: str, other: str) -> None:
        self.user = user
        self.ledger = Ledger()  # of what this one sends
        self.partner: Peer | None = None
        self.under_way: dict[int, tuple[int, float]] = {}  # request id -> (number, when it was due)
        self.backlog: deque[float] = deque()
        self.sent = 0
        self._run = run
        self._conversation = direct(user, other)
        self._line = Line(user, token, self._take, self._lost)
        self._numbers: dict[int, None] = {}
        self._cursor = 0
        self._acked = 0
        self._epoch = ""
        self._url = ""
        self._ids = itertools.count(1)
        self._spoke = 0.0
        self._pages: asyncio.Future[pb.Page] | None = None

    async def open(self, url: str) -> None:
        self._url = url
        welcome = await self._line.open(url, self._cursor, self._epoch)
        self._spoke = time.monotonic()
        if not self._epoch:
            self._cursor = self._acked = welcome.inbox_head
        self._epoch = welcome.epoch

    def close(self) -> None:
        self._line.close()

    def send(self, due: float) -> None:
        """The next message."""
        number, self.sent = self.sent, self.sent + 1
        self._post(number, due)

    def refresh(self, now: float) -> None:
        """Acknowledge what is held; say something before the server wonders."""
        if self._cursor > self._acked:
            self._acked = self._cursor
            self._say(pb.ClientFrame(ack=pb.Ack(number=self._acked)))
            self._spoke = now
        elif now - self._spoke > PING_S:
            self._say(pb.ClientFrame(ping=pb.Ping()))
            self._spoke = now

    async def sync(self) -> int:
        """Fetch what did not arrive; how much of it came."""
        came, more = 0, True
        while more:
            self._pages = asyncio.get_running_loop().create_future()
            self._say(pb.ClientFrame(id=next(self._ids), sync=pb.Sync(after=self._cursor, limit=500)))
            async with asyncio.timeout(SETTLE_S):
                page = await self._pages
            for entry in page.entries:
                came += self._arrive(entry, None)
            more = page.more
        return came

    def _post(self, number: int, due: float) -> None:
        request = next(self._ids)
        self.under_way[request] = (number, due)
        text = f"{number} {due:.6f} ".ljust(self._run.size_bytes, "x")
        self._say(
            pb.ClientFrame(
                id=request,
                send=pb.Send(
                    client_id=f"{self._run.name}-{number}",
                    conversation=self._conversation,
                    content=pb.Content(text=text),
                ),
            )
        )

    def _say(self, frame: pb.ClientFrame) -> None:
        self._line.send(frame.SerializeToString())

    def _take(self, frame: pb.ServerFrame) -> None:
        match frame.WhichOneof("body"):
            case "deliver":
                now = time.monotonic()
                for entry in frame.deliver.entries:
                    self._arrive(entry, now)
            case "sent":
                self._answered(frame.id, frame.sent)
            case "error":
                self._refused(frame.id, frame.error)
            case "page" if self._pages is not None and not self._pages.done():
                self._pages.set_result(frame.page)
            case "lagging":
                self._run.count_error("LAGGING")
                self._run.to_sync.add(self)
            case "goodbye":
                self._run.count_error(f"GOODBYE_{frame.goodbye.code}")
                self._url = frame.goodbye.address or self._url
            case _:
                pass

    def _answered(self, request: int, sent: pb.Sent) -> None:
        self._hold(sent.number)
        under_way = self.under_way.pop(request, None)
        if under_way is None:
            return
        number, due = under_way
        if self.ledger.acknowledge(number, sent.seq):
            self._run.samples.acknowledge(due, time.monotonic())
        self._run.answered(self)

    def _refused(self, request: int, error: pb.Error) -> None:
        self._run.count_error(error.code)
        under_way = self.under_way.pop(request, None)
        if under_way is None:
            return
        if not error.retry_after_ms:
            self._run.failure = Failure(f"{self.user} was refused: {error.message} ({error.code}).")
            return
        number, due = under_way
        key = -number - 1  # it still counts as under way
        self.under_way[key] = under_way

        def again() -> None:
            if self.under_way.pop(key, None) is not None:
                self._post(number, due)

        asyncio.get_running_loop().call_later(error.retry_after_ms / 1000, again)

    def _arrive(self, entry: pb.Entry, now: float | None) -> bool:
        """`now` None: by sync, so it says nothing about latency."""
        self._hold(entry.number)
        message = entry.message
        if message.sender == self.user or self.partner is None:
            return False
        number, due, _ = message.content.text.split(" ", 2)
        if not self.partner.ledger.arrive(int(number), message.seq):
            return False
        if now is not None:
            self._run.samples.deliver(float(due), now)
        return True

    def _hold(self, number: int) -> None:
        if number <= self._cursor:
            return
        self._numbers[number] = None
        while self._numbers.pop(self._cursor + 1, 0) is None:
            self._cursor += 1

    def _lost(self) -> None:
        self._run.broken.put_nowait(self)

    async def reopen(self) -> None:
        """A new connection; what has no answer is sent again with the same client ids."""
        await self.open(self._url)
        waiting, self.under_way = list(self.under_way.values()), {}
        for number, due in sorted(waiting):
            self._post(number, due)
        self._run.to_sync.add(self)


class DirectRun:
    """The share of one process."""

    def __init__(self, share: Share, name: str) -> None:
        self.name = name
        self.size_bytes = share.plan.size_bytes
        self.samples = Samples(0.0, 0.0)
        self.tally = Tally()
        self.broken: asyncio.Queue[Peer] = asyncio.Queue()
        self.to_sync: set[Peer] = set()
        self.failure: Failure | None = None  # of a callback, which has nobody to raise it to
        self._share = share
        self._closed_loop = share.rate is None
        self._window = share.plan.window if self._closed_loop else OPEN_WINDOW
        self._sending = False
        self._peers = [
            Peer(self, user, token, share.tokens[index ^ 1][0]) for index, (user, token) in enumerate(share.tokens)
        ]
        for index, peer in enumerate(self._peers):
            peer.partner = self._peers[index ^ 1]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """All lines are open inside."""
        gate = asyncio.Semaphore(OPENING_AT_ONCE)

        async def open_one(index: int, peer: Peer) -> None:
            async with gate:
                await peer.open(self._share.urls[index % len(self._share.urls)])

        async with asyncio.TaskGroup() as tasks:
            for index, peer in enumerate(self._peers):
                tasks.create_task(open_one(index, peer))
        async with asyncio.TaskGroup() as tasks:
            upkeep = [tasks.create_task(self._refresh()), tasks.create_task(self._mend())]
            try:
                yield
            finally:
                for task in upkeep:
                    task.cancel()
                for peer in self._peers:
                    peer.close()

    async def run(self, start: float) -> Tally:
        """From `start` (monotonic) to the end of the measurement, then until all is accounted for."""
        plan = self._share.plan
        self.samples = Samples(start + plan.warmup_s, start + plan.warmup_s + plan.seconds)
        await asyncio.sleep(max(0.0, start - time.monotonic()))
        self._sending = True
        if self._closed_loop:
            for peer in self._peers:
                for _ in range(self._window):
                    peer.send(time.monotonic())
            await asyncio.sleep(max(0.0, self.samples.end - time.monotonic()))
        else:
            await self._send_on_time(start)
        self._sending = False
        await self._settle()
        return self.tally

    def answered(self, peer: Peer) -> None:
        """There is room for another send of this user."""
        if self._closed_loop:
            if self._sending:
                peer.send(time.monotonic())
        elif peer.backlog and len(peer.under_way) < self._window:
            peer.send(peer.backlog.popleft())

    def count_error(self, code: str) -> None:
        self.tally.errors[code] = self.tally.errors.get(code, 0) + 1

    async def _send_on_time(self, start: float) -> None:
        assert self._share.rate is not None
        gap_s = 1.0 / self._share.rate
        for number in itertools.count():
            due = start + number * gap_s
            if due >= self.samples.end:
                return
            wait_s = due - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            elif number % 64 == 0:
                await asyncio.sleep(0)  # late: still let what came be read
            peer = self._peers[number % len(self._peers)]
            if peer.backlog or len(peer.under_way) >= self._window:
                peer.backlog.append(due)
            else:
                peer.send(due)

    async def _settle(self) -> None:
        """Wait for the answers, then for the arrivals, then fetch what did not arrive."""
        await _until(lambda: not any(peer.under_way or peer.backlog for peer in self._peers), SETTLE_S)
        await _until(lambda: not any(peer.ledger.missing for peer in self._peers), ARRIVE_S)
        for peer in self._peers:
            if peer.partner is not None and peer.partner.ledger.missing:
                self.tally.repaired_by_sync += await peer.sync()
        for peer in self._peers:
            self.tally.sent += peer.sent
            self.tally.unanswered += len(peer.under_way) + len(peer.backlog)
            self.tally.add(peer.ledger)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(ACK_S)
            if self.failure is not None:
                raise self.failure
            now = time.monotonic()
            for peer in self._peers:
                peer.refresh(now)
            while self.to_sync:
                self.tally.repaired_by_sync += await self.to_sync.pop().sync()

    async def _mend(self) -> None:
        """Lines that broke are opened again."""
        while True:
            peer = await self.broken.get()
            self.tally.reconnects += 1
            try:
                await peer.reopen()
            except (Failure, TimeoutError):
                await asyncio.sleep(RETRY_S)
                self.broken.put_nowait(peer)


async def _until(holds: Callable[[], bool], limit_s: float) -> None:
    """Or until the time is over."""
    end = time.monotonic() + limit_s
    while not holds() and time.monotonic() < end:  # noqa: ASYNC110  # looking is cheap, and nothing else tells
        await asyncio.sleep(POLL_S)
