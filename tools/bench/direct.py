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
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from protos.tidings.v1 import client_pb2 as pb
from services.common.ids import direct
from services.common.wire.codec import JSON, PROTO, Codec
from tools.bench.crowd import Crowd, until
from tools.bench.frames import SEND_ID, marks, sends
from tools.bench.ledger import Ledger
from tools.bench.pace import pacer
from tools.bench.plan import Share
from tools.bench.samples import Samples
from tools.bench.scan import Entry, Scanner, scanner
from tools.bench.user import User
from tools.bench.wires import wire_of

SETTLE_S = 20.0
ARRIVE_S = 5.0
OPEN_WINDOW = 200
TICK_S = 0.001


class Peer(User):
    """Sends to the other of its pair, and receives what that one sends."""

    partner: Peer

    def __init__(
        self, run: DirectRun, index: int, token: tuple[str, str], other: str, scanners: Mapping[Codec, Scanner]
    ) -> None:
        wire = wire_of(run.share.plan, index)
        super().__init__(run, *token, wire, scanners[wire.codec])
        self.ledger = Ledger()  # of what this one sends
        self.due = array("d")
        self.under_way = 0
        self.backlog: deque[float] = deque()
        self._run = run
        self._make = sends(wire, run.name, index, direct(self.name, other), run.share.plan.size_bytes)
        self._marks = marks(index ^ 1)  # of what it receives

    @property
    def sent(self) -> int:
        return len(self.due)

    def send(self, due: float) -> None:
        """The next message."""
        number = len(self.due)
        self.due.append(due)
        self.under_way += 1
        self.line.write(self._make(number))

    def on_sent(self, number: int, seq: int) -> None:
        if self.ledger.acknowledge(number, seq):
            self.under_way -= 1
            self._run.acknowledged.add(self.due[number], time.monotonic())
            self._run.answered(self)

    def on_entries(self, entries: Sequence[Entry], now: float | None) -> int:
        came = 0
        partner, base = self.partner, self._marks
        for _, seq, mark in entries:
            number = mark - base
            if 0 <= number < len(partner.due) and partner.ledger.arrive(number, seq):
                came += 1
                if now is not None:
                    self._run.delivered.add(partner.due[number], now)
        return came

    def on_refused(self, number: int, error: pb.Error) -> None:
        number -= SEND_ID
        self.ledger.send_again(number)
        asyncio.get_running_loop().call_later(error.retry_after_ms / 1000, self._again, number)

    def send_again(self) -> None:
        for number in self.ledger.unanswered(self.sent):
            self.ledger.send_again(number)
            self._again(number)

    def _again(self, number: int) -> None:
        self.line.write(self._make(number))


class DirectRun(Crowd[Peer]):
    """The share of one process."""

    def __init__(self, share: Share, name: str) -> None:
        super().__init__()
        self.name = name
        self.share = share
        self.acknowledged = Samples()
        self.delivered = Samples()
        self._closed_loop = share.rate is None
        self._window = share.plan.window if self._closed_loop else OPEN_WINDOW
        self._sending = False
        self._late = Samples()  # how late the generator itself was
        scanners = {codec: scanner(codec, name) for codec in (PROTO, JSON)}
        self.users = [
            Peer(self, index, token, share.tokens[index ^ 1][0], scanners) for index, token in enumerate(share.tokens)
        ]
        for index, peer in enumerate(self.users):
            peer.partner = self.users[index ^ 1]

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        async with self.opened(self.share.urls):
            yield

    async def run(self, start: float) -> dict[str, Any]:
        """From `start` (monotonic) to the end of the measurement, then until all is accounted for."""
        plan = self.share.plan
        begin = start + plan.warmup_s
        for samples in (self.acknowledged, self.delivered, self._late):
            samples.begin, samples.end = begin, begin + plan.seconds
        await asyncio.sleep(max(0.0, start - time.monotonic()))
        self._sending = True
        if self._closed_loop:
            for peer in self.users:
                for _ in range(self._window):
                    peer.send(time.monotonic())
            await asyncio.sleep(max(0.0, self.acknowledged.end - time.monotonic()))
        else:
            await self._send_on_time(start)
        self._sending = False
        await self._settle()
        return {
            "acknowledged": self.acknowledged.told(),
            "delivered": self.delivered.told(),
            "late": self._late.told(),
        }

    def answered(self, peer: Peer) -> None:
        """There is room for another send of this user."""
        if self._closed_loop:
            if self._sending:
                peer.send(time.monotonic())
        elif peer.backlog and peer.under_way < self._window:
            peer.send(peer.backlog.popleft())

    async def _send_on_time(self, start: float) -> None:
        assert self.share.rate is not None
        gap_s = 1.0 / self.share.rate
        with pacer() as pace:
            for number in itertools.count():
                due = start + number * gap_s
                if due >= self.acknowledged.end:
                    return
                now = time.monotonic()
                if due > now:
                    await pace.until(max(due, now + TICK_S) if gap_s < TICK_S else due)
                elif number % 64 == 0:
                    await asyncio.sleep(0)  # late: still let what came be read
                self._late.add(due, max(due, time.monotonic()))
                peer = self.users[number % len(self.users)]
                if peer.backlog or peer.under_way >= self._window:
                    peer.backlog.append(due)
                else:
                    peer.send(due)

    async def _settle(self) -> None:
        """Wait for the answers, then for the arrivals, then fetch what did not arrive."""
        await until(lambda: not any(peer.under_way or peer.backlog for peer in self.users), SETTLE_S)
        await until(lambda: all(peer.ledger.complete for peer in self.users), ARRIVE_S)
        for peer in self.users:
            if peer.partner.ledger.missing:
                self.tally.repaired_by_sync += await peer.sync()
        for peer in self.users:
            self.tally.sent += peer.sent
            self.tally.unanswered += peer.under_way + len(peer.backlog)
            self.tally.add(peer.ledger)
