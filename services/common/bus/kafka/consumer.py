"""Reading given partitions of a topic, from positions of our own.

Guarantees: positions are fixed by entering (or when Kafka is there, which is a gap if reading begins at the end), are
kept across every reconnect, and move past a record only when it was handed out; a position that Kafka no longer has is
moved to the oldest record there is, or, if Kafka has lost records that were there, to the end, and `on_gap` says so. A
topic that was made anew is read from its beginning, and that is a gap too. A consumer that Kafka has not answered for
some time is made anew, so that Kafka is found again under whatever addresses its brokers have then.

Does not know: groups, commits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from services.common.backoff import Backoff
from services.common.bus.contract import ConsumedRecord, OnGap
from services.common.bus.kafka.hearing import Hearing
from services.common.scope import Owned
from services.common.telemetry import logs, metrics

log = logs.get_logger(__name__)

BATCH_MAX = 500
POLL_MS = 500
FETCH_BYTES_MAX = 8 * 1024 * 1024
REQUEST_MS = 5_000
# So many empty polls without an answer to a fetch take as long as `connected` waits.
UNANSWERED_POLLS_MAX = 30
ENTER_S = 3.0
START_S = 10.0
CLOSE_S = 3.0


class KafkaSubscription(Owned):
    """Reads as the contract says. It has no task of its own: who iterates drives it."""

    def __init__(
        self,
        bootstrap: list[str],
        client_id: str,
        topic: str,
        partitions: Sequence[int],
        *,
        from_end: bool,
        on_gap: OnGap | None,
        security: Mapping[str, Any],
        entered: set[KafkaSubscription],
    ) -> None:
        """`security`: what a client's constructor is given (security.py); `entered`: those that are read now."""
        self._security = security
        self._entered = entered
        self.positions: dict[int, int] = {}
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._topic = topic
        self._partitions = [TopicPartition(topic, number) for number in partitions]
        self._from_end = from_end
        self._on_gap = on_gap
        self._consumer: AIOKafkaConsumer | None = None
        self._backoff = Backoff()
        self._hearing = Hearing(UNANSWERED_POLLS_MAX)
        self._is_late = False  # it was entered without knowing its positions
        self._is_new = False  # the topic, which was lost

    @property
    def topic(self) -> str:
        return self._topic

    @property
    def quiet_s(self) -> float:
        """How long Kafka has not answered a fetch, while somebody waits for records."""
        return self._hearing.quiet_s(time.monotonic())

    @property
    def connected(self) -> bool:
        """Whether Kafka answered a fetch lately."""
        return self.quiet_s < 3 * REQUEST_MS / 1000

    def topic_was_made_anew(self) -> None:
        """Takes note that what the topic held is lost, and so is what the positions meant."""
        self._is_new = True

    @property
    def lag(self) -> int:
        consumer = self._consumer
        if consumer is None:
            return 0
        behind = 0
        for partition in self._partitions:
            if partition in consumer.assignment() and (end := consumer.highwater(partition)) is not None:
                behind += max(0, end - self.positions.get(partition.partition, end))
        return behind

    def __aiter__(self) -> AsyncIterator[list[ConsumedRecord]]:
        return self

    async def __anext__(self) -> list[ConsumedRecord]:
        self._hearing.ask(time.monotonic())
        try:
            return await self._read()
        finally:
            self._hearing.stop_asking()

    async def _read(self) -> list[ConsumedRecord]:
        while True:
            try:
                if self._is_new:
                    await self._begin_anew()
                consumer = self._consumer or await self._connect()
                found = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_MAX)
                self._backoff.reset()
                self._hearing.poll(self._fetched_ms(consumer), time.monotonic(), empty=not found)
                if found:
                    return self._take(found)
                if self._hearing.is_lost:
                    await self._lose(TimeoutError("no fetch was answered"))
            except OffsetOutOfRangeError as error:
                await self._bridge(error)
            except (KafkaError, OSError, TimeoutError) as error:
                await self._lose(error)

    async def _running(self) -> AsyncIterator[None]:
        self._entered.add(self)
        try:
            async with asyncio.timeout(ENTER_S):
                await self._connect()
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("kafka is away; reading begins when it is back", topic=self._topic, reason=repr(error)[:300])
        self._is_late = self._from_end
        try:
            yield
        finally:
            self._entered.discard(self)
            await self._close()
            metrics.BUS_LAG.labels(self._topic).set(0)

    async def _connect(self) -> AIOKafkaConsumer:
        """A consumer at our positions."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_min_bytes=1,
            fetch_max_wait_ms=POLL_MS,
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            request_timeout_ms=REQUEST_MS,
            retry_backoff_ms=100,
            metadata_max_age_ms=60_000,
            connections_max_idle_ms=300_000,
            **self._security,
        )
        metrics.BUS_CONSUMERS.inc()
        try:
            async with asyncio.timeout(START_S):
                await consumer.start()
                await self._resolve(consumer)
        except BaseException:
            await _stop(consumer)
            raise
        consumer.assign(self._partitions)
        for partition in self._partitions:
            consumer.seek(partition, self.positions[partition.partition])
        self._consumer = consumer
        self._hearing.begin()
        return consumer

    async def _resolve(self, consumer: AIOKafkaConsumer) -> None:
        unknown = [partition for partition in self._partitions if partition.partition not in self.positions]
        if unknown:
            ask = consumer.end_offsets if self._from_end else consumer.beginning_offsets
            for partition, offset in (await ask(unknown)).items():
                self.positions[partition.partition] = offset
                if self._is_late:
                    # What was published since it was entered may lie before this end.
                    self._tell_gap(partition.partition)

    async def _begin_anew(self) -> None:
        self._is_new = False
        await self._close()
        for partition in self._partitions:
            self.positions[partition.partition] = 0
            self._tell_gap(partition.partition)

    def _tell_gap(self, partition: int) -> None:
        metrics.BUS_GAPS.labels(self._topic).inc()
        if self._on_gap is not None:
            self._on_gap(self._topic, partition)

    def _take(self, found: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]) -> list[ConsumedRecord]:
        batch = [
            ConsumedRecord(
                each.topic,
                each.partition,
                each.offset,
                each.value or b"",
                each.key,
                tuple(each.headers),
                each.timestamp,
            )
            for records in found.values()
            for each in records
        ]
        for partition, records in found.items():
            self.positions[partition.partition] = records[-1].offset + 1
        metrics.BUS_CONSUMED.labels(self._topic).inc(len(batch))
        metrics.BUS_LAG.labels(self._topic).set(self.lag)
        oldest_ms = min(each.timestamp_ms for each in batch)
        metrics.BUS_TRANSIT_SECONDS.labels(self._topic).observe(max(0.0, time.time() - oldest_ms / 1000))
        return batch

    def _fetched_ms(self, consumer: AIOKafkaConsumer) -> int:
        """When Kafka last answered a fetch; 0: never yet."""
        return max((consumer.last_poll_timestamp(each) or 0 for each in self._partitions), default=0)

    async def _bridge(self, error: OffsetOutOfRangeError) -> None:
        """Goes on where Kafka still has, or again has, something."""
        consumer = self._consumer
        assert consumer is not None
        lost: list[TopicPartition] = list(error.args[0]) if error.args and isinstance(error.args[0], dict) else []
        try:
            starts = await consumer.beginning_offsets(lost)
            ends = await consumer.end_offsets(lost)
        except (KafkaError, OSError, TimeoutError) as failure:
            await self._lose(failure)
            return
        for partition in lost:
            position = self.positions[partition.partition]
            there = starts[partition] if position < starts[partition] else ends[partition]
            log.warning(
                "records were lost before they were read",
                topic=self._topic,
                partition=partition.partition,
                position=position,
                goes_on_at=there,
            )
            self.positions[partition.partition] = there
            consumer.seek(partition, there)
            self._tell_gap(partition.partition)

    async def _lose(self, error: BaseException) -> None:
        """The consumer is of no more use; another one is made after a pause."""
        if self._consumer is not None:
            log.warning("reading from kafka broke off", topic=self._topic, reason=repr(error)[:300])
        await self._close()
        await asyncio.sleep(self._backoff.next_s())

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await _stop(consumer)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Ends a consumer within `CLOSE_S`, whatever state it is in.

    While no broker can be reached, aiokafka's own `stop` raises CancelledError in a task that nobody has cancelled, and
    leaves its client open (findings/aiokafka-stop-while-away.sh). So it has a task of its own here, and the client is
    closed in any case.
    """
    ending = asyncio.create_task(consumer.stop(), name="kafka consumer stop")
    try:
        await asyncio.wait([ending], timeout=CLOSE_S)
    finally:
        ending.cancel()
        outcomes: list[BaseException | None] = await asyncio.gather(ending, return_exceptions=True)
        metrics.BUS_CONSUMERS.dec()
        if outcomes[0] is not None:
            log.warning("kafka consumer did not close", reason=repr(outcomes[0])[:300])
            await _close_client(consumer)


async def _close_client(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await consumer._client.close()  # noqa: SLF001 - nothing else closes it
    except (KafkaError, OSError, TimeoutError) as error:
        log.warning("kafka consumer's client did not close", reason=repr(error)[:300])
