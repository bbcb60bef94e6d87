"""The publisher: what a batch has to tell goes to Kafka, as a record for each access node it concerns.

Publications gather in a few lanes: one that finds its lane quiet goes at once, those that come while Kafka is being
written to go together in the next records.

Guarantees:
- `publish` returns when all of it is acknowledged by Kafka; or, when Kafka does not answer within `wait_s`, all the
  same. From then on nobody waits until Kafka is back: the node is degraded (health, metric). Pushes then go straight to
  the access nodes by call, and what comes beside them, or was not taken there, is put into a backlog of bounded size,
  which is published first when Kafka answers again;
- `hand_over` returns at once while no more than AHEAD_MAX publications wait, else as `publish` does: who sends faster
  than Kafka takes is held back. What waits is lost if this node dies; devices find by their next heartbeat that they
  lack something;
- so events, presence and the membership of large groups arrive at least once, unless this node dies while Kafka is
  away or the backlog overflows (counted). Pushes of messages and receipts are kept for some seconds only, since devices
  find by their next heartbeat that they lack something;
- an access node that says that it does not hear Kafka, while this one does, gets its parcels by call as well;
- the pushes of one publication keep their order on their way to a node, on either way, and so do messages of several;
  what is published when Kafka is back waits for the calls that are still under way. What Kafka took without saying so
  may come again and late: numbers tell.

Does not know: what is told (messages/, receipts/, requests/ …), which devices are where (the access nodes).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from services.common.bus.contract import Record
from services.common.bus.sending import RecordSink, without_too_large
from services.common.bus.topics import TopicNames
from services.common.clock import Clock
from services.common.cluster import ClusterView
from services.common.lanes.lane import Lanes
from services.common.parcel_calls import Errand, ParcelCalls
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics, tracing
from services.common.telemetry.health import Health
from services.logic.publishing.backlog import Backlog, PendingRecord
from services.logic.publishing.directory import Directory
from services.logic.publishing.records import Publication, RecordBuilder
from tidings_protocol.errors import TidingsError, TooLarge, Unavailable

CHECK = "kafka"
BATCH_MAX = 512
# Publications that may wait without anybody waiting for them. Whatever waits goes with the next record, so one write of
# Kafka lasts as long as all of them took to come: at full load two or three batches of an access node, each of some
# hundred messages, come meanwhile. So many more than that mean that Kafka takes in less than it is given; and what a
# node that dies has not told yet stays about as much as its batches under way.
AHEAD_MAX = 8
PUSH_AGE_MAX_S = 10.0
PROBE_INTERVAL_S = 0.5
RECOVERY_RECORDS = 1000
RECOVERY_BYTES = 4 * 1024 * 1024

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PublisherOptions:
    """How the publisher waits and what it holds.

    `wait_s`: how long a publication waits for Kafka. `lanes`: writes under way at once. `waiting_max`: publications
    that may wait for their turn. `backlog_bytes_max`: what is kept while Kafka is away. `parcel_bytes_max`: the most
    bytes of one record. `probe_interval_s`: between two questions whether Kafka is back.
    """

    wait_s: float
    lanes: int
    waiting_max: int
    backlog_bytes_max: int
    parcel_bytes_max: int
    probe_interval_s: float = PROBE_INTERVAL_S


class Publisher(Owned):
    """An async context manager; leaving it publishes what waits, within `wait_s`. The bus and `calls` outlive it."""

    def __init__(
        self,
        bus: RecordSink,
        cluster: ClusterView,
        topics: TopicNames,
        health: Health,
        clock: Clock,
        calls: ParcelCalls,
        options: PublisherOptions,
    ) -> None:
        self._bus = bus
        self._topics = topics
        self._health = health
        self._clock = clock
        self._calls = calls
        self._options = options
        self._directory = Directory(cluster)
        self._builder = RecordBuilder(self._directory, topics, parcel_bytes_max=options.parcel_bytes_max)
        self._backlog = Backlog(options.backlog_bytes_max, PUSH_AGE_MAX_S)
        self._away = asyncio.Event()
        self._returned = False  # just now
        self._lanes: Lanes[Publication, None] = Lanes(
            "publish", self._handle, lanes=options.lanes, capacity=options.waiting_max, batch_max=BATCH_MAX
        )
        self._scope = TaskScope()
        self._lane = 0

    @property
    def degraded(self) -> bool:
        """Whether Kafka did not answer last time."""
        return self._away.is_set()

    @property
    def depth(self) -> int:
        """Publications that wait for their turn."""
        return self._lanes.depth

    @property
    def backlog_bytes(self) -> int:
        """About how many bytes wait for Kafka to be back."""
        return self._backlog.size

    async def publish(self, publication: Publication) -> None:
        """Returns when Kafka has all of the publication, or when that is not waited for any longer.

        Never raises for Kafka's sake. A cancellation ends the wait alone: what was handed over is published.
        """
        try:
            await self._lanes.submit(self._lane_of(publication), publication)
        except TidingsError as error:
            # The lane is full or the node is leaving: the messages are stored, their readers will find them.
            self._give_up(publication, error)

    def offer(self, publication: Publication) -> None:
        """Hands the publication over and does not wait. Never raises for Kafka's sake."""
        try:
            self._lanes.offer(self._lane_of(publication), publication)
        except TidingsError as error:
            self._give_up(publication, error)

    async def hand_over(self, publication: Publication) -> None:
        """Hands the publication over, and waits for Kafka only while too many wait.

        Never raises for Kafka's sake. A cancellation ends the wait alone: what was handed over is published.
        """
        if self.depth < AHEAD_MAX:
            self.offer(publication)
        else:
            await self.publish(publication)

    async def _running(self) -> AsyncIterator[None]:
        self._health.set(CHECK, ok=True)
        async with self._scope:
            self._scope.spawn(self._recover(), name="publisher recovery")
            async with self._lanes:
                yield
            await self._calls.quiet(self._options.wait_s)
            await self._last_try()

    def _lane_of(self, publication: Publication) -> int:
        """Messages share a lane, since nobody waits until those before them are told; others take turns."""
        if publication.has_messages:
            return 0
        self._lane += 1
        return self._lane

    async def _handle(self, batch: list[Publication]) -> Sequence[None]:
        records = self._builder.build(batch, self._clock.now_s())
        traces = (trace for publication in batch for trace in publication.traces)
        with tracing.batch("publish", traces, records=len(records)):
            if self._away.is_set():
                self._go_by_call(records)
                metrics.BUS_LATE.inc(sum(publication.messages for publication in batch))
            elif not await self._write_after_calls(records):
                metrics.BUS_LATE.inc(sum(publication.messages for publication in batch))
        return [None] * len(batch)

    async def _write_after_calls(self, records: list[PendingRecord]) -> bool:
        """Writes as `_write` does, but nothing overtakes what is still on its way from when Kafka was away."""
        if self._returned:
            await self._calls.quiet(self._options.wait_s)
            self._returned = False
        written = await self._write(records, self._options.wait_s)
        if written and (deaf := self._directory.deaf()):
            self._call_the_deaf(records, deaf)
        return written

    def _call_the_deaf(self, records: list[PendingRecord], deaf: Sequence[tuple[str, str]]) -> None:
        """Calls the access nodes that say that they do not hear Kafka; later they read the records as well."""
        for pending in records:
            for node, boot_id in deaf:
                is_theirs = pending.to == (node, boot_id) or pending.record.topic == self._topics.broadcast
                if is_theirs:
                    self._calls.offer(Errand(node, boot_id, pending.record.value))

    async def _write(self, records: list[PendingRecord], timeout_s: float) -> bool:
        """Whether Kafka has all records; if not, they go the other way and the node is degraded."""
        if not records:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(records)
        except (TimeoutError, Unavailable) as error:
            self._went_away(str(error) or f"no answer within {timeout_s:g} s")
            self._go_by_call(records)
            return False
        return True

    async def _send(self, records: list[PendingRecord]) -> None:
        """Writes all records; one that is too large for Kafka is left out, and does not keep the others back."""
        await without_too_large(self._put, records, self._leave_out)

    async def _put(self, records: Sequence[PendingRecord]) -> None:
        await self._bus.publish([pending.record for pending in records])

    def _leave_out(self, pending: PendingRecord, error: TooLarge) -> None:
        self._count_dropped([pending])
        log.warning("record too large for kafka", reason=error.message, topic=pending.record.topic)

    # ---- while Kafka is away

    async def _recover(self) -> None:
        while True:
            await self._away.wait()
            await asyncio.sleep(self._options.probe_interval_s)
            while await self._try_again():
                if not len(self._backlog):
                    self._came_back()
                    break

    def _go_by_call(self, records: list[PendingRecord]) -> None:
        """Brings parcels to their nodes by call; events wait for Kafka."""
        events = [pending for pending in records if pending.record.topic == self._topics.events]
        if events:
            self._keep(events)
        for pending in records:
            if pending.record.topic == self._topics.deliver and pending.to is not None:
                self._hand_over(pending, [pending.to])
            elif pending.record.topic == self._topics.broadcast:
                self._hand_over(pending, self._directory.readers())

    def _hand_over(self, pending: PendingRecord, nodes: Sequence[tuple[str, str]]) -> None:
        """Calls these nodes; the record is kept for Kafka unless all of them take it."""
        if not nodes:
            self._keep([pending])
            return
        left, missed = len(nodes), False

        def done(taken: bool) -> None:
            nonlocal left, missed
            left, missed = left - 1, missed or not taken
            if not left and missed:
                self._keep([pending])
                self._away.set()  # if Kafka is back meanwhile: what is kept has to be published

        for node, boot_id in nodes:
            self._calls.offer(Errand(node, boot_id, pending.record.value), done)

    async def _try_again(self) -> bool:
        """Publishes some of the backlog, or a parcel with nothing in it; says whether that went well."""
        now_s = self._clock.now_s()
        records, dropped = self._backlog.take(RECOVERY_RECORDS, RECOVERY_BYTES, now_s)
        self._count_dropped(dropped)
        try:
            async with asyncio.timeout(max(self._options.wait_s, 5.0)):
                await self._send(records or [PendingRecord(self._probe(), False, now_s)])
        except (TimeoutError, Unavailable) as error:
            self._count_dropped(self._backlog.give_back(records, self._clock.now_s()))
            if self._away.is_set() and str(error):
                self._degrade(str(error))
            return False
        finally:
            metrics.PUBLISH_BACKLOG_BYTES.set(self._backlog.size)
        return True

    async def _last_try(self) -> None:
        """Gives what is in the backlog one more chance when the node leaves."""
        try:
            async with asyncio.timeout(self._options.wait_s):
                while len(self._backlog) and await self._try_again():
                    pass
        except TimeoutError:
            pass
        if len(self._backlog):
            log.warning("events lost because kafka is away", records=len(self._backlog))

    def _probe(self) -> Record:
        return Record(self._topics.broadcast, b"", partition=0)

    def _keep(self, records: list[PendingRecord]) -> None:
        self._count_dropped(self._backlog.add(records, self._clock.now_s()))
        metrics.PUBLISH_BACKLOG_BYTES.set(self._backlog.size)

    def _went_away(self, reason: str) -> None:
        if not self._away.is_set():
            self._away.set()
            self._degrade(reason)
            log.warning("kafka is away", reason=reason)

    def _degrade(self, reason: str) -> None:
        self._health.set(
            CHECK, ok=False, reason=f"Kafka is away ({reason}), and messages go by call: bring it back", degraded=True
        )

    def _came_back(self) -> None:
        self._returned = True
        self._away.clear()
        self._health.set(CHECK, ok=True)
        log.info("kafka is back")

    def _give_up(self, publication: Publication, error: TidingsError) -> None:
        """Keeps a publication for later that finds not even a place to wait."""
        metrics.BUS_LATE.inc(publication.messages)
        self._keep(self._builder.build([publication], self._clock.now_s()))
        self._went_away(error.message)

    def _count_dropped(self, dropped: list[PendingRecord]) -> None:
        for pending in dropped:
            metrics.PUBLISH_DROPPED.labels("lasting" if pending.lasting else "push").inc()
