"""The workload `direct`: pairs of users write to each other, and every message is accounted for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tidings_protocol.ids import direct
from tools.bench.load.crowd import until
from tools.bench.load.load import ARRIVE_S, Load, Sender
from tools.bench.plan import Share
from tools.bench.users.frames import marks
from tools.bench.users.scan import Entry


class Peer(Sender):
    """Sends to the other of its pair, and receives what that one sends."""

    partner: Peer

    def __init__(self, run: DirectRun, index: int, token: tuple[str, str], other: str) -> None:
        super().__init__(run, index, token)
        self.write_to(direct(self.name, other))
        self._delivered = run.delivered
        self._marks = marks(index ^ 1)  # of what it receives

    def on_entries(self, entries: Sequence[Entry], now: float | None) -> int:
        came = 0
        partner, base = self.partner, self._marks
        for _, seq, mark in entries:
            number = mark - base
            if 0 <= number < len(partner.due) and partner.ledger.arrive(number, seq):
                came += 1
                if now is not None:
                    self._delivered.add(partner.due[number], now)
        return came


class DirectRun(Load[Peer]):
    """The share of one process."""

    def __init__(self, share: Share, name: str) -> None:
        super().__init__(share, name)
        self.users = self.senders = [
            Peer(self, index, token, share.tokens[index ^ 1][0]) for index, token in enumerate(share.tokens)
        ]
        for index, peer in enumerate(self.users):
            peer.partner = self.users[index ^ 1]

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        async with self.opened(self.share.urls):
            yield

    async def account(self) -> None:
        await until(lambda: all(peer.ledger.complete for peer in self.users), ARRIVE_S)
        for peer in self.users:
            if peer.partner.ledger.missing:
                self.tally.repaired_by_sync += await peer.sync()
        for peer in self.users:
            self.tally.add(peer.ledger)
