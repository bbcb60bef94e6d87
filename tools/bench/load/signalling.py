"""The workload `signals`: pairs of users exchange what is not stored. Nothing answers a signal but the other's signal.

Closed loop: each arrival is answered by the next, so `window` signals of each user are under way. As none is promised,
what has not arrived after a second is given up and counted, and a new one goes out in its place.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tools.bench.load.load import Load, Sender
from tools.bench.plan import Share
from tools.bench.users.frames import marks, signals
from tools.bench.users.scan import Entry

GIVEN_UP_S = 1.0
ARRIVE_S = 2.0


class Signaller(Sender):
    partner: Signaller

    def __init__(self, run: SignalsRun, index: int, token: tuple[str, str], other: str) -> None:
        super().__init__(run, index, token)
        self.got = 0
        self.moved = 0.0  # when the last of its own arrived
        self._run = run
        self._make = signals(self.wire, index, other)
        self._marks = marks(index ^ 1)
        self._seen = array("b")  # of the partner's numbers

    def send(self, due: float) -> None:
        number = len(self.due)
        self.due.append(due)
        self._post(number)

    def on_signal(self, mark: int, now: float) -> None:
        number, partner = mark - self._marks, self.partner
        if not 0 <= number < len(partner.due):
            return
        self._seen.extend([0] * (number + 1 - len(self._seen)))
        if self._seen[number]:
            self._run.tally.duplicates_seen += 1
            return
        self._seen[number] = 1
        self.got += 1
        partner.moved = now
        self._run.delivered.add(partner.due[number], now)
        self._run.answered(self)

    def on_entries(self, entries: Sequence[Entry], now: float | None) -> int:
        del entries, now
        return 0

    def send_again(self) -> None:
        """Nothing of what is not promised."""


class SignalsRun(Load[Signaller]):
    """The share of one process."""

    def __init__(self, share: Share, name: str) -> None:
        super().__init__(share, name)
        self._given_up = 0
        self.users = self.senders = [
            Signaller(self, index, token, share.tokens[index ^ 1][0]) for index, token in enumerate(share.tokens)
        ]
        for index, user in enumerate(self.users):
            user.partner = self.users[index ^ 1]

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        async with self.opened(self.share.urls), asyncio.TaskGroup() as tasks:
            renewing = tasks.create_task(self._renew())
            yield
            renewing.cancel()

    async def settle(self) -> dict[str, Any]:
        await asyncio.sleep(ARRIVE_S)
        self.tally.sent = sum(user.sent for user in self.users)
        self.tally.arrived = sum(user.got for user in self.users)
        told = {"delivered": self.delivered.told(), "late": self.late.told()}
        return {**told, "counts": {"signals that did not arrive": self.tally.sent - self.tally.arrived}}

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(GIVEN_UP_S)
            if not (self._sending and self._closed_loop):
                continue
            now = time.monotonic()
            for user in self.users:
                if user.moved and now - user.moved > GIVEN_UP_S:
                    user.moved = now
                    for _ in range(self._window):
                        user.send(now)
