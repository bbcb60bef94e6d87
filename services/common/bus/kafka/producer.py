"""Publishing to Kafka: one idempotent producer, acknowledged by all in-sync replicas, no lingering.

While a request is under way to a broker the records for it gather, so batches grow with the load by themselves.

Guarantees:
- records of one partition are written in the order of `publish`; none is doubled by the producer's own retries;
- at most `WAITING_BYTES_MAX` wait for Kafka; more are refused at once with Unavailable;
- a record that has waited for `EXPIRY_S` is given up, with all that waits (aiokafka's idempotent producer would keep it
  forever); from then on `publish` does not wait, until Kafka answers again;
- a producer that failed a record is not used again: its sequence numbers have a hole, so the broker would refuse all
  that follows. A new one is made as soon as Kafka answers, for as long as it takes.

Does not know: topics' meaning. A record whose caller gave up may still arrive until it expires.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError, KafkaError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition

from services.common.backoff import Backoff
from services.common.bus.contract import Record
from services.common.bus.kafka.batches import RECORD_BYTES_MAX, batches_of, too_large
from services.common.bus.kafka.closing import close_producer
from services.common.telemetry import logs, metrics, tracing
from tidings_protocol.errors import Unavailable

log = logs.get_logger(__name__)

WAITING_BYTES_MAX = 64 * 1024 * 1024
BATCH_BYTES_MAX = 1024 * 1024
REQUEST_MS = 5_000
EXPIRY_S = 10.0
WATCH_S = 0.5
START_S = 10.0
FLUSH_S = 2.0


class KafkaProducer:
    """`run` it in a task; `publish` from any."""

    def __init__(
        self, bootstrap: list[str], client_id: str, publish_timeout_s: float, security: Mapping[str, Any]
    ) -> None:
        """`security`: what a client's constructor is given (security.py)."""
        self.connected = False
        self._security = security
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._timeout_s = publish_timeout_s
        self._producer: AIOKafkaProducer | None = None
        self._changed = asyncio.Event()
        self._broken = asyncio.Event()
        self._away = False
        # In the order in which they began to wait: (bytes, since when).
        self._waiting: dict[asyncio.Future[Any], tuple[int, float]] = {}
        self._waiting_bytes = 0

    async def publish(self, records: Sequence[Record]) -> None:
        if not records:
            return
        began = time.monotonic()
        futures: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                producer = await self._started()
                batches = await batches_of(producer, records, tracing.inject())
                for place, builder in batches:
                    # One by one, so that what was handed over before a failure is known.
                    futures.append(self._hand_over(producer, place, builder))
                await asyncio.wait(futures)
        except TimeoutError:
            self._note(False, "records are not acknowledged in time")
        except KafkaError as error:
            self._note(False, repr(error))
            _count_failed(records)
            raise Unavailable(f"the bus (Kafka) does not take records ({type(error).__name__}): try again") from error
        self._judge(records, futures)
        took_s = time.monotonic() - began
        sizes: dict[str, int] = defaultdict(int)
        for record in records:
            sizes[record.topic] += len(record.value)
        for topic, count in Counter(record.topic for record in records).items():
            metrics.BUS_PUBLISHED.labels(topic).inc(count)
            metrics.BUS_PUBLISHED_BYTES.labels(topic).inc(sizes[topic])
            metrics.BUS_PUBLISH_SECONDS.labels(topic).observe(took_s)

    async def flush(self) -> None:
        """Waits a moment for what is under way."""
        if self._waiting:
            await asyncio.wait(list(self._waiting), timeout=FLUSH_S)

    def replace(self) -> None:
        """A new one as soon as possible: what the brokers knew of this one may be gone, or be another's."""
        self._broken.set()

    async def run(self) -> None:
        """Makes a producer, and a new one whenever that is broken."""
        backoff = Backoff()
        while True:
            producer = self._make()
            try:
                async with asyncio.timeout(START_S):
                    await producer.start()
                self._use(producer)
                backoff.reset()
                await self._until_broken()
            except (KafkaError, OSError, TimeoutError) as error:
                self._note(False, repr(error))
                self._use(None)
            finally:
                self._producer = None
                await close_producer(producer)
            await asyncio.sleep(backoff.next_s())

    def _make(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=RECORD_BYTES_MAX,
            request_timeout_ms=REQUEST_MS,
            retry_backoff_ms=100,
            metadata_max_age_ms=60_000,
            connections_max_idle_ms=300_000,
            **self._security,
        )

    def _use(self, producer: AIOKafkaProducer | None) -> None:
        """The producer for all that comes; None: Kafka is away, so nobody waits for it."""
        self._producer = producer
        self._away = producer is None
        if producer is not None:
            self._broken.clear()
            self._note(True)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until_broken(self) -> None:
        """Returns when a record failed or has waited for too long."""
        while not self._broken.is_set():
            oldest_s = next(iter(self._waiting.values()), (0, time.monotonic()))[1]
            if time.monotonic() - oldest_s > EXPIRY_S:
                return
            try:
                async with asyncio.timeout(WATCH_S):
                    await self._broken.wait()
            except TimeoutError:
                continue

    async def _started(self) -> AIOKafkaProducer:
        while self._producer is None or self._broken.is_set():
            if self._away:
                raise Unavailable("the bus (Kafka) does not answer: try again")
            await self._changed.wait()
        return self._producer

    def _hand_over(
        self, producer: AIOKafkaProducer, place: TopicPartition, builder: BatchBuilder
    ) -> asyncio.Future[Any]:
        size = builder.size()
        if self._waiting_bytes + size > WAITING_BYTES_MAX:
            raise Unavailable("too much waits for the bus (Kafka): try again")
        # Behind what waits already. `send_batch` would wait here until that has gone out, and whoever publishes to
        # other partitions after this would wait for the broker of this one.
        accumulator = producer._message_accumulator  # noqa: SLF001
        future: asyncio.Future[Any] = accumulator._append_batch(builder, place).future  # noqa: SLF001
        self._waiting[future] = (size, time.monotonic())
        self._waiting_bytes += size
        future.add_done_callback(self._settle)
        return future

    def _settle(self, future: asyncio.Future[Any]) -> None:
        """A record was acknowledged or given up, whether or not somebody still waits for it."""
        self._waiting_bytes -= self._waiting.pop(future)[0]
        error = None if future.cancelled() else future.exception()
        if error is None:
            self._note(True)
        else:
            self._note(False, repr(error))
            self._away = True
            self._broken.set()

    def _judge(self, records: Sequence[Record], futures: list[asyncio.Future[Any]]) -> None:
        """Raises unless every record is acknowledged."""
        errors = [future.exception() for future in futures if future.done() and not future.cancelled()]
        if futures and len(errors) == len(futures) and not any(errors):
            return
        _count_failed(records)
        if any(isinstance(error, MessageSizeTooLargeError) for error in errors):
            raise too_large()
        if any(isinstance(error, InvalidTimestampError) for error in errors):
            raise Unavailable(
                "the bus (Kafka) refuses the time of the records (InvalidTimestamp): set this node's clock, or let the "
                "topic have message.timestamp.type=LogAppendTime, which the job `prepare` does"
            )
        raise Unavailable("the bus (Kafka) did not answer in time, and may have the records: try again")

    def _note(self, answered: bool, why: str = "") -> None:
        """The change is told once."""
        if answered != self.connected:
            self.connected = answered
            if answered:
                log.info("kafka answers")
            else:
                log.warning("kafka does not take records", reason=why[:300])


def _count_failed(records: Sequence[Record]) -> None:
    for topic, count in Counter(record.topic for record in records).items():
        metrics.BUS_PUBLISH_FAILED.labels(topic).inc(count)
