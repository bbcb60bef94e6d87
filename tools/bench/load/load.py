"""Sending: by a closed loop or on time, and what becomes of each message. What `direct`, `group` and `mixed` share.

Closed loop: each sender has `window` sends without an answer, the next goes out with each answer. Open loop: messages
go out at their times; one that has to wait (for its user's line) still counts from the time it should have gone out.
What is refused for now is sent again with the same client id, as a client must.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections import deque
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from tidings_protocol import client_pb2 as pb
from tidings_protocol.wire.codec import JSON, PROTO, Codec
from tools.bench.accounts.ledger import Ledger
from tools.bench.accounts.samples import Samples
from tools.bench.load.crowd import Crowd, until
from tools.bench.load.pace import pacer
from tools.bench.plan import Share
from tools.bench.users.frames import SEND_ID, Make, sends
from tools.bench.users.scan import Scanner, scanner
from tools.bench.users.user import User
from tools.bench.users.wires import wire_of

SETTLE_S = 20.0
ARRIVE_S = 5.0
OPEN_WINDOW = 200
TICK_S = 0.001


class Sender(User):
    """Writes to one conversation."""

    def __init__(self, run: Load[Any], index: int, token: tuple[str, str]) -> None:
        wire = wire_of(run.share.plan, index)
        super().__init__(run, *token, wire, run.scanners[wire.codec], run.share.source)
        self.index = index
        self.ledger = Ledger()  # of what this one sends
        self.due = array("d")
        self.under_way = 0
        self.backlog: deque[float] = deque()
        self._load = run
        self._make: Make | None = None

    def write_to(self, conversation: str) -> None:
        """Writes to this conversation from now on."""
        plan = self._load.share.plan
        self._make = sends(self.wire, self._load.name, self.index, conversation, plan.size_bytes)

    @property
    def sent(self) -> int:
        return len(self.due)

    def send(self, due: float) -> None:
        """The next message."""
        number = len(self.due)
        self.due.append(due)
        self.under_way += 1
        self._post(number)

    def on_sent(self, number: int, seq: int) -> None:
        if self.ledger.acknowledge(number, seq):
            self.under_way -= 1
            self._load.acknowledged.add(self.due[number], time.monotonic())
            self._load.answered(self)

    def on_refused(self, request: int, error: pb.Error) -> None:
        number = request - SEND_ID
        self.ledger.send_again(number)
        asyncio.get_running_loop().call_later(error.retry_after_ms / 1000, self._post, number)

    def send_again(self) -> None:
        for number in self.ledger.unanswered(self.sent):
            self.ledger.send_again(number)
            self._post(number)

    def _post(self, number: int) -> None:
        assert self._make is not None
        self.line.write(self._make(number))


SenderT = TypeVar("SenderT", bound=Sender)


class Load(Crowd[SenderT], Generic[SenderT]):
    """The share of one process. `senders` is filled by the workload."""

    def __init__(self, share: Share, name: str) -> None:
        super().__init__()
        self.name = name
        self.share = share
        self.acknowledged = Samples()
        self.delivered = Samples()
        self.late = Samples()  # how late the generator itself was
        self.scanners: Mapping[Codec, Scanner] = {codec: scanner(codec, name) for codec in (PROTO, JSON)}
        self.senders: list[SenderT] = []
        self._closed_loop = share.rate is None
        self._window = share.plan.window if self._closed_loop else OPEN_WINDOW
        self._sending = False

    async def measure(self, start: float) -> None:
        """Measures from `start` (monotonic) to the end of the measurement."""
        plan = self.share.plan
        begin = start + plan.warmup_s
        for samples in (self.acknowledged, self.delivered, self.late):
            samples.begin, samples.end = begin, begin + plan.seconds
        await asyncio.sleep(max(0.0, start - time.monotonic()))
        self._sending = True
        if self._closed_loop:
            for sender in self.senders:
                for _ in range(self._window):
                    sender.send(time.monotonic())
            await asyncio.sleep(max(0.0, self.acknowledged.end - time.monotonic()))
        else:
            await self._send_on_time(start)
        self._sending = False

    async def settle(self) -> dict[str, Any]:
        """Until all is accounted for."""
        await until(lambda: not any(sender.under_way or sender.backlog for sender in self.senders), SETTLE_S)
        await self.account()
        self.tally.sent += sum(sender.sent for sender in self.senders)
        self.tally.unanswered += sum(sender.under_way + len(sender.backlog) for sender in self.senders)
        return {"acknowledged": self.acknowledged.told(), "delivered": self.delivered.told(), "late": self.late.told()}

    async def account(self) -> None:
        """Wait for the arrivals, fetch what did not arrive, and fill the tally."""
        raise NotImplementedError

    def answered(self, sender: SenderT) -> None:
        """There is room for another send of this user."""
        if self._closed_loop:
            if self._sending:
                now = time.monotonic()
                sender.send(now)
                sender.refresh(now)  # an acknowledgement that is due goes along
        elif sender.backlog and sender.under_way < self._window:
            sender.send(sender.backlog.popleft())

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
                self.late.add(due, max(due, time.monotonic()))
                sender = self.senders[number % len(self.senders)]
                if sender.backlog or sender.under_way >= self._window:
                    sender.backlog.append(due)
                else:
                    sender.send(due)
