"""The publisher: what a batch has to tell goes to Kafka, as a record for each access node it concerns.

Publications gather in a few lanes: one that finds its lane quiet goes at once, those that come while Kafka is being
written to go together in the next records.

Guarantees:
- `publish` returns when all of it is acknowledged by Kafka; or, when Kafka does not answer within `wait_s`, all the
  same. From then on nobody waits until Kafka is back: the node is degraded (health, metric). Pushes then go straight to
  the access nodes by call, and what comes beside them, or was not taken there, is put into a backlog of bounded size,
  which is published first when Kafka answers again;
- so events, presence and the membership of large groups arrive at least once, unless this node dies while Kafka is
  away or the backlog overflows (counted). Pushes of messages and receipts are kept for some seconds only, since devices
  find by their next heartbeat that they lack something;
- an access node that says that it does not hear Kafka, while this one does, gets its parcels by call as well;
- the pushes of one publication keep their order on their way to a node, on either way; what is published when Kafka is
  back waits for the calls that are still under way. What Kafka took without saying so may come again and late:
  numbers tell.

Does not know: what is told (sending, group_acts, receipting, …), which devices are where (the access nodes).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from services.common.bus.contract import Record
from services.common.bus.topics import TopicNames
from services.common.clock import Clock
from services.common.direct import Direct, Errand
from services.common.lanes.lane import Lanes
from services.common.scope import TaskScope
from services.common.telemetry import logs, metrics, tracing
from services.common.telemetry.health import Health
from services.logic.publishing.backlog import Backlog, PendingRecord
from services.logic.publishing.directory import Directory, View
from services.logic.publishing.events import StreamEvent
from services.logic.publishing.parcels import KafkaParcel, OutgoingPush, build_parcels
from tidings_protocol.errors import TidingsError, TooLarge, Unavailable

CHECK = "kafka"
BATCH_MAX = 512
PUSH_AGE_MAX_S = 10.0
PROBE_INTERVAL_S = 0.5
RECOVERY_RECORDS = 1000
RECOVERY_BYTES = 4 * 1024 * 1024

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Publication:
    """What one batch has to tell. `messages`: how many sends are acknowledged by it."""

    outgoing: Sequence[OutgoingPush] = ()
    events: Sequence[StreamEvent] = ()
    messages: int = 0


class Publishing(Protocol):
    """The half of the bus that logic needs."""

    async def publish(self, records: Sequence[Record]) -> None: ...


class Publisher:
    """An async context manager; leaving it publishes what waits, within `wait_s`."""

    def __init__(
        self,
        bus: Publishing,
        cluster: View,
        topics: TopicNames,
        health: Health,
        clock: Clock,
        direct: Direct,
        *,
        wait_s: float,
        lanes: int,
        waiting_max: int,
        backlog_bytes_max: int,
        parcel_bytes_max: int,
        probe_interval_s: float = PROBE_INTERVAL_S,
    ) -> None:
        self._bus = bus
        self._directory = Directory(cluster)
        self._topics = topics
        self._health = health
        self._clock = clock
        self._direct = direct
        self._wait_s = wait_s
        self._parcel_bytes_max = parcel_bytes_max
        self._probe_interval_s = probe_interval_s
        self._backlog = Backlog(backlog_bytes_max, PUSH_AGE_MAX_S)
        self._away = asyncio.Event()
        self._returned = False  # just now
        self._lanes: Lanes[Publication, None] = Lanes(
            "publish", self._handle, lanes=lanes, capacity=waiting_max, batch_max=BATCH_MAX
        )
        self._scope = TaskScope()
        self._turn = 0

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
        return self._backlog.size

    async def publish(self, publication: Publication) -> None:
        """Returns when it is published, or when that is not waited for any longer. Never raises for Kafka's sake."""
        try:
            await self._lanes.submit(self._next_lane(), publication)
        except TidingsError as error:
            # The lane is full or the node is leaving: the messages are stored, their readers will find them.
            self._give_up(publication, error)

    def offer(self, publication: Publication) -> None:
        """The same without waiting."""
        try:
            self._lanes.offer(self._next_lane(), publication, _nothing)
        except TidingsError as error:
            self._give_up(publication, error)

    async def __aenter__(self) -> Self:
        self._health.set(CHECK, ok=True)
        await self._scope.__aenter__()
        self._scope.spawn(self._recover(), name="publisher recovery")
        await self._lanes.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._lanes.__aexit__(kind, error, traceback)
            await self._direct.quiet(self._wait_s)
            await self._last_try()
        finally:
            await self._scope.__aexit__(kind, error, traceback)

    def _next_lane(self) -> int:
        self._turn += 1
        return self._turn

    async def _handle(self, batch: list[Publication]) -> Sequence[None]:
        waiting = self._waiting(batch)
        traces = (item.trace for publication in batch for item in publication.outgoing)
        with tracing.batch("publish", traces, records=len(waiting)):
            if self._away.is_set():
                self._go_direct(waiting)
                metrics.BUS_LATE.inc(sum(publication.messages for publication in batch))
            elif not await self._write_after_direct(waiting):
                metrics.BUS_LATE.inc(sum(publication.messages for publication in batch))
        return [None] * len(batch)

    async def _write_after_direct(self, waiting: list[PendingRecord]) -> bool:
        """As `_write`, but nothing overtakes what is still on its way from when Kafka was away."""
        if self._returned:
            await self._direct.quiet(self._wait_s)
            self._returned = False
        written = await self._write(waiting, self._wait_s)
        if written and (deaf := self._directory.deaf()):
            self._call_the_deaf(waiting, deaf)
        return written

    def _call_the_deaf(self, waiting: list[PendingRecord], deaf: Sequence[tuple[str, str]]) -> None:
        """Access nodes that say that they do not hear Kafka; they read it when they do."""
        for each in waiting:
            for node, boot_id in deaf:
                is_theirs = each.to == (node, boot_id) or each.record.topic == self._topics.broadcast
                if is_theirs:
                    self._direct.offer(Errand(node, boot_id, each.record.value), _whatever)

    async def _write(self, waiting: list[PendingRecord], timeout_s: float) -> bool:
        """Whether Kafka has it all; if not, it goes the other way and the node is degraded."""
        if not waiting:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await self._send(waiting)
        except (TimeoutError, Unavailable) as error:
            self._went_away(str(error) or f"no answer within {timeout_s:g} s")
            self._go_direct(waiting)
            return False
        return True

    async def _send(self, waiting: list[PendingRecord]) -> None:
        """All of them; one that is too large for Kafka is left out, and does not keep the others back."""
        try:
            await self._bus.publish([each.record for each in waiting])
        except TooLarge as error:
            if len(waiting) > 1:
                middle = len(waiting) // 2
                await self._send(waiting[:middle])
                await self._send(waiting[middle:])
                return
            self._count_dropped(waiting)
            log.warning("record too large for kafka", reason=error.message, topic=waiting[0].record.topic)

    def _waiting(self, batch: list[Publication]) -> list[PendingRecord]:
        """The records of a batch: parcels first, they are what people wait for."""
        now_s = self._clock.now_s()
        routed = build_parcels(
            (item for publication in batch for item in publication.outgoing),
            self._directory.owner_of(),
            self._directory.mailboxes(),
            broadcast_partitions=self._topics.broadcast_partitions,
            parcel_bytes_max=self._parcel_bytes_max,
        )
        if routed.unowned:
            metrics.PUSHES_UNOWNED.inc(routed.unowned)
        waiting = [
            PendingRecord(
                self._record(parcel), parcel.lasting, now_s, (parcel.to.node, parcel.to.boot_id) if parcel.to else None
            )
            for parcel in routed.parcels
        ]
        events = self._topics.events
        for publication in batch:
            waiting += [
                PendingRecord(Record(events, event.value, key=event.conversation.encode()), True, now_s)
                for event in publication.events
            ]
        return waiting

    def _record(self, parcel: KafkaParcel) -> Record:
        topic = self._topics.broadcast if parcel.broadcast else self._topics.deliver
        headers = ((tracing.HEADER, parcel.trace.encode()),) if parcel.trace else ()
        return Record(topic, parcel.value, partition=parcel.partition, headers=headers)

    # ---- while Kafka is away

    async def _recover(self) -> None:
        while True:
            await self._away.wait()
            await asyncio.sleep(self._probe_interval_s)
            while await self._try_again():
                if not len(self._backlog):
                    self._came_back()
                    break

    def _go_direct(self, waiting: list[PendingRecord]) -> None:
        """Parcels to the nodes that they are for; events wait for Kafka."""
        events = [each for each in waiting if each.record.topic == self._topics.events]
        if events:
            self._keep(events)
        for each in waiting:
            if each.record.topic == self._topics.deliver and each.to is not None:
                self._hand_over(each, [each.to])
            elif each.record.topic == self._topics.broadcast:
                self._hand_over(each, self._directory.readers())

    def _hand_over(self, each: PendingRecord, nodes: Sequence[tuple[str, str]]) -> None:
        """It is kept for Kafka unless all of them take it."""
        if not nodes:
            self._keep([each])
            return
        left, missed = len(nodes), False

        def done(taken: bool) -> None:
            nonlocal left, missed
            left, missed = left - 1, missed or not taken
            if not left and missed:
                self._keep([each])
                self._away.set()  # if Kafka is back meanwhile: what is kept has to be published

        for node, boot_id in nodes:
            self._direct.offer(Errand(node, boot_id, each.record.value), done)

    async def _try_again(self) -> bool:
        """Publishes some of the backlog, or a parcel with nothing in it; whether that went well."""
        now_s = self._clock.now_s()
        waiting, dropped = self._backlog.take(RECOVERY_RECORDS, RECOVERY_BYTES, now_s)
        self._count_dropped(dropped)
        try:
            async with asyncio.timeout(max(self._wait_s, 5.0)):
                await self._send(waiting or [PendingRecord(self._probe(), False, now_s)])
        except (TimeoutError, Unavailable) as error:
            self._count_dropped(self._backlog.give_back(waiting, self._clock.now_s()))
            if self._away.is_set() and str(error):
                self._degrade(str(error))
            return False
        finally:
            metrics.PUBLISH_BACKLOG_BYTES.set(self._backlog.size)
        return True

    async def _last_try(self) -> None:
        """What is in the backlog when the node leaves gets one more chance."""
        try:
            async with asyncio.timeout(self._wait_s):
                while len(self._backlog) and await self._try_again():
                    pass
        except TimeoutError:
            pass
        if len(self._backlog):
            log.warning("events lost because kafka is away", records=len(self._backlog))

    def _probe(self) -> Record:
        return Record(self._topics.broadcast, b"", partition=0)

    def _keep(self, waiting: list[PendingRecord]) -> None:
        self._count_dropped(self._backlog.add(waiting, self._clock.now_s()))
        metrics.PUBLISH_BACKLOG_BYTES.set(self._backlog.size)

    def _went_away(self, reason: str) -> None:
        if not self._away.is_set():
            self._away.set()
            self._degrade(reason)
            log.warning("kafka is away", reason=reason)

    def _degrade(self, reason: str) -> None:
        self._health.set(CHECK, ok=False, reason=f"messages go straight to access nodes: {reason}", degraded=True)

    def _came_back(self) -> None:
        self._returned = True
        self._away.clear()
        self._health.set(CHECK, ok=True)
        log.info("kafka is back")

    def _give_up(self, publication: Publication, error: TidingsError) -> None:
        """There is not even a place to wait: kept for later without a turn."""
        metrics.BUS_LATE.inc(publication.messages)
        self._keep(self._waiting([publication]))
        self._went_away(error.message)

    def _count_dropped(self, dropped: list[PendingRecord]) -> None:
        for waiting in dropped:
            metrics.PUBLISH_DROPPED.labels("lasting" if waiting.lasting else "push").inc()


def _whatever(_: bool) -> None:
    """It is in Kafka all the same."""


def _nothing(_: TidingsError | None) -> None:
    """Nobody waits for the outcome."""
