"""The feed of events: what turns say is durable goes to Kafka, and then the watermarks of its conversations move.

    stored, changed, loaded ──▶ queue ──▶ (GATHER_S) ──▶ encode ──▶ publish ──▶ told ──▶ written behind
                                  └ debts ─▶ read from the log ─┘

Guarantees: an event is published at least once, and the first ones of a conversation in the order of seq, whatever
dies: `told` moves after Kafka has what lies before it. While Kafka is away memory is bounded (queue.py), and no turn
waits or fails. Leaving publishes what waits, for a moment; what is left is read from the log by whoever is next.
Does not know: who is next (heartbeat.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final

from services.common.bus.contract import Record
from services.common.bus.sending import RecordSink, without_too_large
from services.common.clock import Clock
from services.common.gatherer import RETRY_S, Gatherer
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics
from services.common.telemetry.health import Health
from services.storage.events.debts import DebtReader, Page
from services.storage.events.encoder import EventEncoder
from services.storage.events.port import FedChange, FedRow
from services.storage.events.queue import Debt, Fed, FeedQueue
from services.storage.memory.conversation import CachedConversation
from tidings_protocol.errors import TidingsError, TooLarge, Unavailable

CHECK: Final = "kafka"
GATHER_S = 0.2
LAST_TRY_S = 3.0

log = logs.get_logger(__name__)


class EventFeed(Owned):
    """An async context manager; the bus outlives it. `moved`: is told of each conversation whose watermark moved."""

    def __init__(
        self,
        bus: RecordSink,
        encoder: EventEncoder,
        debts: DebtReader,
        moved: Callable[[CachedConversation], None],
        health: Health,
        clock: Clock,
        *,
        bytes_max: int,
        gather_s: float = GATHER_S,
        retry_s: float = RETRY_S,
        last_try_s: float = LAST_TRY_S,
    ) -> None:
        self.queue = FeedQueue(bytes_max)
        self._bus = bus
        self._encoder = encoder
        self._debts = debts
        self._moved = moved
        self._health = health
        self._clock = clock
        self._retry_s = retry_s
        self._last_try_s = last_try_s
        self._gatherer = Gatherer(self._tell_all, gather_s=gather_s)
        self._empty = asyncio.Event()
        self._empty.set()
        self._away = False
        self._progress_s = clock.now_s()

    def stored(self, rows: Sequence[FedRow]) -> None:
        self.queue.stored(rows)
        self._note()

    def changed(self, changes: Sequence[FedChange]) -> None:
        self.queue.changed(changes)
        self._note()

    def loaded(self, conversations: Iterable[CachedConversation]) -> None:
        self.queue.loaded(conversations)
        self._note()

    @property
    def behind_s(self) -> float:
        """For how long nothing was told, though something waits; 0: nothing waits."""
        return self._clock.now_s() - self._progress_s if len(self.queue) or self.queue.owed else 0.0

    async def _running(self) -> AsyncIterator[None]:
        self._health.set(CHECK, ok=True)
        async with TaskScope() as scope:
            scope.spawn(self._gatherer.run(), name="events")
            yield
            await self._last_try()

    def _note(self) -> None:
        if not len(self.queue):
            return
        if self._empty.is_set():
            self._progress_s = self._clock.now_s()
            self._empty.clear()
        self._gatherer.note()

    async def _tell_all(self) -> bool:
        """Tells all that waits now."""
        mark = self.queue.mark
        while not self.queue.has_passed(mark):
            await self._tell(*self.queue.take())
        if not len(self.queue):
            self._empty.set()
        return True

    async def _last_try(self) -> None:
        try:
            async with asyncio.timeout(self._last_try_s):
                await self._empty.wait()
        except TimeoutError:
            log.warning("events are left to whoever is next", count=len(self.queue), owed=self.queue.owed)

    # ---- one batch

    async def _tell(self, rows: Sequence[Fed], debts: Sequence[Debt]) -> None:
        """Tells these, or a page of each debt; then the watermarks follow what Kafka has."""
        pages = await self._read(debts)
        told = [*rows, *(row for page in pages for row in page.rows)]
        await without_too_large(self._publish, self._encoder.records(told), self._leave_out)
        paid = [debt for debt, page in zip(debts, pages, strict=True) if page.is_last]
        self.queue.told(told, paid, [debt for debt, page in zip(debts, pages, strict=True) if not page.is_last])
        for conversation in {item.conversation: None for item in (*told, *paid)}:
            self._moved(conversation)
        metrics.EVENTS_TOLD.inc(len(told))
        self._progress_s = self._clock.now_s()

    async def _read(self, debts: Sequence[Debt]) -> Sequence[Page]:
        """A page of each of these, as soon as they can be had."""
        while debts:
            try:
                return await self._debts.read(debts)
            except TidingsError as error:
                log.warning("what is to be told cannot be read yet", reason=error.message, conversations=len(debts))
                await asyncio.sleep(self._retry_s)
        return ()

    async def _publish(self, records: Sequence[Record]) -> None:
        """Returns when Kafka has these, however long that takes. Raises TooLarge."""
        while True:
            try:
                await self._bus.publish(records)
            except Unavailable as error:
                self._went_away(error.message)
                await asyncio.sleep(self._retry_s)
            else:
                self._came_back()
                return

    def _leave_out(self, record: Record, error: TooLarge) -> None:
        metrics.EVENTS_DROPPED.inc()
        log.warning("event too large for kafka", reason=error.message, conversation=str(record.key))

    def _went_away(self, reason: str) -> None:
        if not self._away:
            self._away = True
            self._health.set(CHECK, ok=False, reason="events wait until Kafka is back", degraded=True)
            log.warning("kafka is away: events wait", reason=reason)

    def _came_back(self) -> None:
        if self._away:
            self._away = False
            self._health.set(CHECK, ok=True)
            log.info("kafka is back: events are told", count=len(self.queue), owed=self.queue.owed)
