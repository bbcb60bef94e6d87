"""The workload `crowd`: a great many mobile connections, of which a few write to each other at any time.

Until the end of the warm-up there are heartbeats alone; from then on messages go out at random times, at a set rate,
and every one is accounted for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import direct
from tidings_protocol.wire.codec import PROTO
from tidings_protocol.wire.varint import length_delimited_tag
from tools.bench.accounts.samples import Samples
from tools.bench.accounts.talk_ledger import TalkLedger
from tools.bench.load.crowd import until
from tools.bench.load.gathering import Gathering
from tools.bench.load.pace import pacer
from tools.bench.load.talks import Talks
from tools.bench.plan import Share
from tools.bench.users.frames import MARK_DIGITS, SEND_ID, SENDER_STEP, WS_PROTO, sends
from tools.bench.users.phone import Phone
from tools.bench.users.scan import Entry, scanner
from tools.cli.failure import Failure

SETTLE_S: Final = 30.0
ARRIVE_S: Final = 10.0
LATE_YIELD: Final = 64  # messages that are late go out so many at a time, and what came is read in between

_PONG = length_delimited_tag(pb.ServerFrame, "pong")


class CrowdRun(Gathering):
    """The share of one process."""

    def __init__(self, share: Share, name: str) -> None:
        super().__init__(share)
        self.acknowledged, self.delivered = Samples(), Samples()
        self.late = Samples()  # how late the generator itself was
        self._name = name
        self._scan_sent, self._scan_entries, self._scan_page, _, self._skipped = scanner(PROTO, name)
        self._ledger = TalkLedger()
        self._held = 0  # connections at the end of the measurement

    async def measure(self, start: float) -> None:
        plan = self.share.plan
        begin = start + plan.warmup_s
        for samples in (self.acknowledged, self.delivered, self.late):
            samples.begin, samples.end = begin, begin + plan.seconds
        await asyncio.sleep(max(0.0, begin - time.monotonic()))
        await self._write(begin, begin + plan.seconds)
        self._held = self.open

    async def settle(self) -> dict[str, Any]:
        ledger = self._ledger
        await until(lambda: ledger.acknowledged == len(ledger), SETTLE_S)
        await until(lambda: ledger.complete, ARRIVE_S)
        await self._repair()
        ledger.add_to(self.tally)
        samples = ("acknowledged", "delivered", "late", "connected")
        told: dict[str, Any] = {name: getattr(self, name).told() for name in samples}
        return {**told, "ramp_s": self.ramp_s, "counts": {"connections": self._held}}

    # ---- what phones hear

    def take(self, phone: Phone, payload: bytes) -> None:
        if payload.startswith(_PONG):
            return
        if sent := self._scan_sent(payload):
            number, seq, inbox = sent
            self._answered(phone, number, seq, inbox)
        elif entries := self._scan_entries(payload):
            self._arrive(phone, entries, time.monotonic())
        elif page := self._scan_page(payload):
            self._turn(phone, page.entries, more=page.more)
        elif not payload.startswith(self._skipped):
            self._take_other(phone, PROTO.decode_server(payload))

    def _take_other(self, phone: Phone, frame: pb.ServerFrame) -> None:
        match frame.WhichOneof("body"):
            case "sent":
                number = int(frame.sent.client_id.rpartition("-")[2])
                self._answered(phone, number, frame.sent.seq, frame.sent.number)
            case "deliver":
                self._arrive(phone, _read(frame.deliver.entries), time.monotonic())
            case "page":
                self._turn(phone, _read(frame.page.entries), more=frame.page.more)
            case "error":
                self._refused(frame.id - SEND_ID, frame.error)
            case "lagging":
                self.count_error("LAGGING")
                phone.sync()
            case "goodbye":
                self.count_error(f"GOODBYE_{frame.goodbye.code}")
            case _:
                pass

    def _answered(self, phone: Phone, number: int, seq: int, inbox: int) -> None:
        self.hold(phone, inbox)
        if self._ledger.acknowledge(number, seq):
            self.acknowledged.add(self._ledger.due[number], time.monotonic())

    def _refused(self, number: int, error: pb.Error) -> None:
        """What is refused for now is sent again with the same client id, as a client must."""
        self.count_error(error.code)
        if error.retry_after_ms:
            asyncio.get_running_loop().call_later(error.retry_after_ms / 1000, self._send_again, number)
        else:
            self.fail(Failure(f"A phone was refused: {error.message} ({error.code})."))

    def _turn(self, phone: Phone, entries: list[Entry], *, more: bool) -> None:
        """A page of what a phone lacked."""
        self.tally.repaired_by_sync += self._arrive(phone, entries, None)
        if more:
            phone.sync()

    def _arrive(self, phone: Phone, entries: list[Entry], now: float | None) -> int:
        """How many are new. `now` None: by sync, so it says nothing about latency."""
        came = 0
        for inbox, seq, mark in entries:
            self.hold(phone, inbox)
            sender, number = divmod(mark, SENDER_STEP)
            if sender != phone.number and self._ledger.arrive(number, phone.number, seq):
                came += 1
                if now is not None:
                    self.delivered.add(self._ledger.due[number], now)
        return came

    # ---- what they say

    def come_back(self, phone: Phone) -> None:
        for number in self._ledger.unanswered(phone.number):
            self._send_again(number)

    async def _write(self, begin: float, end: float) -> None:
        talks = Talks(len(self.phones), self.chance)
        with pacer() as pace:
            for number, due in enumerate(self._times(begin, end)):
                if due > time.monotonic():
                    await pace.until(due)
                elif number % LATE_YIELD == 0:
                    await asyncio.sleep(0)
                self.late.add(due, max(due, time.monotonic()))
                self._send(self._ledger.send(*talks.next(), due))
        await asyncio.sleep(max(0.0, end - time.monotonic()))

    def _times(self, begin: float, end: float) -> Iterator[float]:
        """At random, as those of many who know nothing of each other."""
        assert self.share.rate is not None
        due = begin + self.chance.expovariate(self.share.rate)
        while due < end:
            yield due
            due += self.chance.expovariate(self.share.rate)

    def _send(self, number: int) -> None:
        ledger, tokens = self._ledger, self.share.tokens
        sender, receiver = ledger.senders[number], ledger.receivers[number]
        conversation = direct(tokens[sender][0], tokens[receiver][0])
        make = sends(WS_PROTO, self._name, sender, conversation, self.share.plan.size_bytes)
        self.phones[sender].write(make(number))

    def _send_again(self, number: int) -> None:
        self._ledger.send_again(number)
        self._send(number)

    async def _repair(self) -> None:
        """Whoever lacks something fetches it, as a client does at its next heartbeat."""
        lacking = {self._ledger.receivers[number] for number in self._ledger.missing()}
        for number in lacking:
            self.phones[number].sync()
        if lacking:
            await until(lambda: self._ledger.complete, ARRIVE_S)


def _read(entries: Iterable[pb.Entry]) -> list[Entry]:
    """What the patterns did not read."""
    return [(each.number, each.message.seq, int(each.message.content.text[:MARK_DIGITS])) for each in entries]
