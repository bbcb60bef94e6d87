"""The phones of one process: they come as fast as the nodes take them, send their heartbeats, and come back.

So many are under way at once, and whoever is told to wait waits. Heartbeats are spread evenly over their interval.

Does not know: what phones write to each other.
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from tools.bench.accounts.ledger import Tally
from tools.bench.accounts.samples import Samples
from tools.bench.plan import Share
from tools.bench.spoken import say
from tools.bench.users.phone import Phone, TurnedAway
from tools.cli.failure import Failure

HEARTBEAT_S: Final = 120.0  # until a welcome says
EARLY_SHARE: Final = 0.9  # of the heartbeat that a client is told, after which it sends one
TICK_S: Final = 0.02
ACK_S: Final = 0.2  # a device acknowledges at most so often
TELL_S: Final = 1.0
MENDED_AT_ONCE: Final = 10


class Gathering(ABC):
    """`take` and `come_back` are for the workload to give."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.tally = Tally()
        self.connected = Samples()  # from the first try to the welcome
        self.ramp_s = 0.0  # how long it took until all were there
        self.chance = random.Random(share.tokens[0][0])
        self.phones = [Phone(self, number) for number in range(len(share.tokens))]
        self._heartbeat_s = HEARTBEAT_S
        self._epoch = ""
        self._holding: set[Phone] = set()  # more than they have acknowledged
        self._broken: asyncio.Queue[Phone] = asyncio.Queue(len(self.phones))  # each is in it at most once
        self._failure: Failure | None = None  # of a callback, which has nobody to raise it to

    # ---- for the workload

    @abstractmethod
    def take(self, phone: Phone, payload: bytes) -> None:
        """A frame behind the welcome."""

    @abstractmethod
    def come_back(self, phone: Phone) -> None:
        """A phone whose connection broke is open again."""

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        """All are open inside. Raises Failure."""
        async with asyncio.TaskGroup() as tasks:
            every = (self._beat(), self._hear(), self._tell(), *(self._mend() for _ in range(MENDED_AT_ONCE)))
            upkeep = [tasks.create_task(each) for each in every]
            try:
                await self._come()
                yield
            finally:
                for task in upkeep:
                    task.cancel()
                for phone in self.phones:
                    phone.close()

    @property
    def open(self) -> int:
        """Connections that are open."""
        return sum(phone.is_open for phone in self.phones)

    def hold(self, phone: Phone, number: int) -> None:
        """Takes an inbox entry in, if it is one, to be acknowledged in a moment."""
        if number:
            phone.hold(number)
            self._holding.add(phone)

    def count_error(self, code: str) -> None:
        self.tally.errors[code] = self.tally.errors.get(code, 0) + 1

    def fail(self, failure: Failure) -> None:
        """Ends the run."""
        self._failure = failure

    def lose(self, phone: Phone) -> None:
        """A connection broke: it is opened again."""
        self._broken.put_nowait(phone)

    # ---- inside

    async def _come(self) -> None:
        """All phones, so many at a time. Raises Failure."""
        began = time.monotonic()
        self.connected.begin, self.connected.end = began, began + 1e9
        waiting = iter(self.phones)
        plan = self.share.plan
        async with asyncio.TaskGroup() as tasks:
            for _ in range(max(1, plan.window // plan.processes)):
                tasks.create_task(self._let_in_all(waiting))
        self.ramp_s = time.monotonic() - began

    async def _let_in_all(self, waiting: Iterator[Phone]) -> None:
        for phone in waiting:
            await self._let_in(phone)

    async def _let_in(self, phone: Phone) -> None:
        """Until it is in; its time runs on while it is told to wait. Raises Failure."""
        due, url = time.monotonic(), self._home(phone)
        token, source = self.share.tokens[phone.number][1], self.share.source
        while not phone.is_open:
            try:
                welcome = await phone.open(url, token, self._epoch, source)
            except TurnedAway as turned:
                self.count_error(turned.why)
                url = turned.address or self._home(phone)
                await asyncio.sleep(turned.retry_s * self.chance.uniform(0.5, 1.5))
            else:
                self._epoch = welcome.epoch
                self._heartbeat_s = float(welcome.idle_heartbeat_s)
                phone.ping()  # it lies in a pocket from now on
        self.connected.add(due, time.monotonic())

    def _home(self, phone: Phone) -> str:
        """The address of the node that owns its user."""
        urls, homes = self.share.urls, self.share.homes
        return urls[homes[phone.number]] if homes else self.chance.choice(urls)

    async def _mend(self) -> None:
        while True:
            phone = await self._broken.get()
            self.tally.reconnects += 1
            await self._let_in(phone)
            phone.sync()
            self.come_back(phone)

    async def _beat(self) -> None:
        """Each phone has its place in the interval, and each process its own, so that none come together."""
        due = time.monotonic() + self.chance.uniform(0.0, TICK_S)
        for tick in count():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += TICK_S
            parts = max(1, round(EARLY_SHARE * self._heartbeat_s / TICK_S))
            for phone in self.phones[tick % parts :: parts]:
                phone.ping()

    async def _hear(self) -> None:
        """Acknowledges what arrived, and raises what a callback could not."""
        while True:
            await asyncio.sleep(ACK_S)
            if self._failure is not None:
                raise self._failure
            holding, self._holding = self._holding, set()
            for phone in holding:
                phone.acknowledge()

    async def _tell(self) -> None:
        while True:
            say({"connections": self.open})
            await asyncio.sleep(TELL_S)
