"""The workload `mixed`: a day of a chat product in miniature.

Messages come on time (open loop): few at the ends of the run, as at night, and most in its middle. Each is for the
sender's direct chat or for its group; and with it come, by their shares, the signal that somebody types, the receipt
that something was read, a look into the history, and a device that goes and comes back and fetches what it missed.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence
from typing import Any

from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import direct
from tools.bench.accounts.ledger import Ledger
from tools.bench.accounts.samples import Samples
from tools.bench.load.crowd import until
from tools.bench.load.group import Group, GroupRun, Member
from tools.bench.load.load import ARRIVE_S
from tools.bench.load.pace import pacer
from tools.bench.plan import Share
from tools.bench.users.frames import SENDER_STEP, sends, signals
from tools.bench.users.scan import Entry
from tools.cli.failure import Failure

NIGHT = 0.2  # of the rate at noon
AWAY_S = 0.5
HISTORY_ENTRIES = 50
SEED = 1


class Inhabitant(Member):
    """Writes to its group and to its neighbour."""

    partner: Inhabitant

    def __init__(self, run: MixedRun, index: int, token: tuple[str, str], group: Group) -> None:
        super().__init__(run, index, token, group)
        self.private = Ledger()  # what it sends to its partner
        self.is_private = bytearray()  # by number
        self.away = False
        self.known_seq = 0  # of the direct chat
        self._mixed = run

    def settle_down(self, partner: Inhabitant) -> None:
        run, self.partner = self._mixed, partner
        self.chat = direct(self.name, partner.name)
        self._make_private = sends(self.wire, run.name, self.index, self.chat, run.share.plan.size_bytes)
        self._make_typing = signals(self.wire, self.index, partner.name)

    def speak(self, due: float, *, privately: bool) -> None:
        self.is_private.append(privately)
        self.send(due)

    def type(self) -> None:
        self.line.write(self._make_typing(0))

    def read(self) -> None:
        """All of the direct chat that it knows."""
        if self.known_seq:
            asked = pb.Read(conversation=self.chat, seq=self.known_seq)
            self.line.write(self.wire.frame(pb.ClientFrame(read=asked)))

    def on_sent(self, number: int, seq: int) -> None:
        if not self.is_private[number]:
            super().on_sent(number, seq)
        elif self.private.acknowledge(number, seq):
            self.known_seq = max(self.known_seq, seq)
            self.under_way -= 1
            self._mixed.acknowledged.add(self.due[number], time.monotonic())

    def on_entries(self, entries: Sequence[Entry], now: float | None) -> int:
        came = 0
        users = self._mixed.users
        for entry in entries:
            sender, number = divmod(entry[2], SENDER_STEP)
            if sender >= len(users) or number >= len(users[sender].due):
                continue
            author = users[sender]
            if not author.is_private[number]:
                came += super().on_entries((entry,), now)
            elif author is self.partner and author.private.arrive(number, entry[1]):
                came += 1
                self.known_seq = max(self.known_seq, entry[1])
                if now is not None:
                    self._mixed.delivered.add(author.due[number], now)
        return came

    def on_refused(self, request: int, error: pb.Error) -> None:
        super().on_refused(request, error)
        self.private.sent_again |= self.ledger.sent_again

    def send_again(self) -> None:
        known = set(self.ledger.unanswered(self.sent)) & set(self.private.unanswered(self.sent))
        for number in sorted(known):
            self.ledger.send_again(number)
            self.private.send_again(number)
            self._post(number)

    def _post(self, number: int) -> None:
        if self.is_private[number]:
            self.line.write(self._make_private(number))
        else:
            super()._post(number)


class MixedRun(GroupRun):
    """The share of one process: whole groups."""

    users: list[Inhabitant]  # type: ignore[assignment]  # this run makes no others

    def __init__(self, share: Share, name: str) -> None:
        self._mix = share.plan.mix
        super().__init__(share, name)
        self.reads = Samples()
        self.returns = Samples()
        self._chance = random.Random(SEED)
        for index, user in enumerate(self.users):
            user.settle_down(self.users[index ^ 1 if index ^ 1 < len(self.users) else 0])

    def member(self, index: int, token: tuple[str, str], group: Group) -> Inhabitant:
        return Inhabitant(self, index, token, group)

    async def measure(self, start: float) -> None:
        plan = self.share.plan
        begin, end = start + plan.warmup_s, start + plan.warmup_s + plan.seconds
        for samples in (self.acknowledged, self.delivered, self.late, self.reads, self.returns):
            samples.begin, samples.end = begin, end
        await asyncio.sleep(max(0.0, start - time.monotonic()))
        async with asyncio.TaskGroup() as asides:
            await self._live(start, end, asides)

    async def settle(self) -> dict[str, Any]:
        told = await super().settle()
        return {**told, "history": self.reads.told(), "return": self.returns.told()}

    async def account(self) -> None:
        await until(lambda: all(user.private.complete for user in self.users), ARRIVE_S)
        for user in self.users:
            if user.partner.private.missing:
                self.tally.repaired_by_sync += await user.sync()
        for user in self.users:
            self.tally.add(user.private)
        await super().account()

    async def _live(self, start: float, end: float, asides: asyncio.TaskGroup) -> None:
        assert self.share.rate is not None
        due = start
        with pacer() as pace:
            while due < end:
                if due > time.monotonic():
                    await pace.until(due)
                self.late.add(due, max(due, time.monotonic()))
                self._happen(due, asides)
                due += 1.0 / (self.share.rate * _daylight((due - start) / (end - start)))

    def _happen(self, due: float, asides: asyncio.TaskGroup) -> None:
        chance, mix = self._chance, self._mix
        user = chance.choice(self.users)
        if user.away:
            return
        if chance.random() < mix["typing"]:
            user.type()
        user.speak(due, privately=chance.random() < mix["direct"])
        reader = user.partner
        if reader.away:
            return
        if chance.random() < mix["read"]:
            reader.read()
        if chance.random() < mix["history"]:
            asides.create_task(self._look(reader))
        if chance.random() < mix["reconnect"]:
            reader.away = True
            asides.create_task(self._go_and_return(reader))

    async def _look(self, user: Inhabitant) -> None:
        due = time.monotonic()
        asked = pb.History(conversation=user.group.id, limit=HISTORY_ENTRIES)
        try:
            await user.fetch(pb.ClientFrame(history=asked))
        except Failure:
            return  # it went while it waited; a refusal is counted
        self.reads.add(due, time.monotonic())

    async def _go_and_return(self, user: Inhabitant) -> None:
        user.close()
        await asyncio.sleep(AWAY_S)
        due = time.monotonic()
        await user.reopen()
        user.away = False
        self.returns.add(due, time.monotonic())


def _daylight(part: float) -> float:
    """The share of the rate at noon, when so much of the day is over."""
    return float(NIGHT + (1 - NIGHT) * math.sin(math.pi * min(max(part, 0.0), 1.0)) ** 2)
