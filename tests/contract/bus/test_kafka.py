"""What only a real Kafka can show: positions that are gone, producers that break, nothing left behind, the cost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka.admin import NewTopic
from aiokafka.producer.message_accumulator import BatchBuilder

from services.common.bus.contract import ConsumedRecord, Record, Subscription, Topic
from services.common.bus.kafka import batches as kafka_batches
from services.common.bus.kafka import consumer as kafka_consumer
from services.common.bus.kafka import producer as kafka_producer
from services.common.bus.kafka.bus import KafkaBus
from services.common.telemetry import tracing
from tests.support.traces import a_trace, recording
from tidings_protocol.errors import Unavailable

from .harness import LONG_S, RESTART_S, KafkaHarness, ensure

pytestmark = pytest.mark.integration


@pytest.fixture
def harness(kafka: KafkaHarness) -> KafkaHarness:
    return kafka


@pytest.fixture
async def bus(harness: KafkaHarness) -> AsyncIterator[KafkaBus]:
    async with harness.new() as bus:
        yield bus


@pytest.fixture
async def topic(harness: KafkaHarness, bus: KafkaBus) -> str:
    name = harness.topic()
    await ensure(bus, Topic(name, partitions=2))
    return name


async def read_until(subscription: Subscription, last: bytes) -> list[ConsumedRecord]:
    found: list[ConsumedRecord] = []
    async with asyncio.timeout(RESTART_S):
        while not found or found[-1].value != last:
            found += await anext(aiter(subscription))
    return found


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not so():  # noqa: ASYNC110 - plain values of the adapter are looked at
            await asyncio.sleep(0.05)


async def publish_until_done(bus: KafkaBus, record: Record) -> None:
    async with asyncio.timeout(LONG_S):
        while True:
            try:
                return await bus.publish([record])
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_a_position_whose_records_were_deleted_moves_to_the_oldest_there_is(
    harness: KafkaHarness, bus: KafkaBus, topic: str
) -> None:
    gaps: list[tuple[str, int]] = []
    for value in (b"0", b"1", b"2"):
        await bus.publish([Record(topic, value, 0)])
    await harness.lose(topic, 0)
    await bus.publish([Record(topic, b"3", 0)])
    reader = bus.consume(topic, [0, 1], on_gap=lambda name, number: gaps.append((name, number)))
    reader.positions[0] = 1
    async with reader:
        await bus.publish([Record(topic, b"4", 0)])
        assert [each.value for each in await read_until(reader, b"4")] == [b"3", b"4"]
    assert gaps == [(topic, 0)]


async def test_a_position_beyond_what_kafka_still_has_moves_to_the_end(bus: KafkaBus, topic: str) -> None:
    gaps: list[tuple[str, int]] = []
    told = asyncio.Event()

    def on_gap(name: str, number: int) -> None:
        gaps.append((name, number))
        told.set()

    await bus.publish([Record(topic, b"0", 0)])
    reader = bus.consume(topic, [0, 1], on_gap=on_gap)
    reader.positions[0] = 1000
    async with reader, asyncio.timeout(LONG_S), asyncio.TaskGroup() as group:
        reading = group.create_task(read_until(reader, b"1"))
        await told.wait()
        await bus.publish([Record(topic, b"1", 0)])
        assert [each.value for each in await reading] == [b"1"]
    assert gaps == [(topic, 0)]


async def test_the_order_of_a_partition_survives_the_death_of_the_broker(
    harness: KafkaHarness, bus: KafkaBus, topic: str
) -> None:
    async with bus.consume(topic, [0]) as reader, asyncio.TaskGroup() as group:
        reading = group.create_task(read_until(reader, b"end"))
        for n in range(200):
            if n == 100:
                await harness.kill()
            await publish_until_done(bus, Record(topic, b"%03d" % n, 0))
        await publish_until_done(bus, Record(topic, b"end", 0))
        found = [each.value for each in await reading]
    assert list(dict.fromkeys(found)) == [b"%03d" % n for n in range(200)] + [b"end"]


async def test_a_producer_whose_records_ran_out_of_time_is_replaced(
    harness: KafkaHarness, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_producer, "EXPIRY_S", 1.5)
    async with harness.new() as bus:
        await bus.publish([Record(topic, b"before", 0)])
        async with harness.outage():
            with pytest.raises(Unavailable):
                await bus.publish([Record(topic, b"during", 0)])
            assert not bus.connected
            async with asyncio.timeout(LONG_S):
                # When it is broken, nobody waits any more.
                while True:
                    began = time.monotonic()
                    with pytest.raises(Unavailable):
                        await bus.publish([Record(topic, b"during", 0)])
                    if time.monotonic() - began < 0.2:
                        break
        await publish_until_done(bus, Record(topic, b"after", 0))
        await bus.publish([Record(topic, b"%d" % n, 0) for n in range(20)])
        assert bus.connected


async def test_more_than_the_bound_is_refused_at_once(
    bus: KafkaBus, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_producer, "WAITING_BYTES_MAX", 1000)
    with pytest.raises(Unavailable, match="too much waits"):
        await bus.publish([Record(topic, bytes(600), 0), Record(topic, bytes(600), 0)])
    # What had been taken goes out, and makes room.
    await publish_until_done(bus, Record(topic, bytes(600), 0))


async def test_a_record_whose_publisher_gave_up_still_arrives(harness: KafkaHarness, bus: KafkaBus, topic: str) -> None:
    async with bus.consume(topic, [0]) as reader:
        await bus.publish([Record(topic, b"first", 0)])
        async with harness.outage():
            task = asyncio.create_task(bus.publish([Record(topic, b"second", 0)]))
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.wait([task])
        assert [each.value for each in await read_until(reader, b"second")] == [b"first", b"second"]


async def test_the_trace_goes_along_in_a_header(bus: KafkaBus, topic: str) -> None:
    with recording():
        async with bus.consume(topic, [0]) as reader:
            with a_trace() as traceparent:
                await bus.publish([Record(topic, b"x", 0)])
            (record,) = await read_until(reader, b"x")
            assert tracing.extract(record.headers) == traceparent


async def test_leaving_is_quick_while_kafka_stands_still(harness: KafkaHarness, topic: str) -> None:
    async with harness.new() as bus, bus.consume(topic, [0]) as reader:
        reading = asyncio.create_task(read_until(reader, b"never"))
        await bus.publish([Record(topic, b"x", 1)])
        async with harness.outage():
            publishing = asyncio.create_task(bus.publish([Record(topic, b"y", 1)]))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            reading.cancel()
            await asyncio.wait([reading])
            await reader.__aexit__(None, None, None)
            await bus.__aexit__(None, None, None)
            assert time.monotonic() - began < 4
            with pytest.raises(Unavailable):
                await publishing
        bus._scope = type(bus._scope)()
        await bus._scope.__aenter__()


async def test_nothing_is_left_behind(harness: KafkaHarness, topic: str) -> None:
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    for _ in range(3):
        async with harness.new() as bus, bus.consume(topic, [0, 1]) as reader:
            await bus.publish([Record(topic, b"x", 0)])
            await read_until(reader, b"x")
    assert asyncio.all_tasks() == tasks
    assert set(threading.enumerate()) == threads


async def test_live_delivery_is_back_within_ten_seconds_after_kafka_came_back_with_an_empty_disk(
    harness: KafkaHarness, topic: str
) -> None:
    """For two nodes that write and read each, as logic and access nodes do; the number of partitions is as before."""
    async with harness.new() as one, harness.new() as two:
        for bus in (one, two):
            await bus.ensure_topics([Topic(topic, partitions=2)])
        async with one.consume(topic, [0]) as first, two.consume(topic, [1]) as second:
            await one.publish([Record(topic, b"before", 0), Record(topic, b"before", 1)])
            for reader in (first, second):
                await read_until(reader, b"before")
            async with asyncio.TaskGroup() as group:
                reading = [group.create_task(read_until(reader, b"after")) for reader in (first, second)]
                await harness.wipe()
                began = time.monotonic()
                while not all(task.done() for task in reading):
                    await publish_until_done(two, Record(topic, b"after", 0))
                    await publish_until_done(one, Record(topic, b"after", 1))
                    await asyncio.sleep(0.1)
                assert time.monotonic() - began < 10
        assert await one.partitions(topic) == 2
        assert (await harness.configs(topic))["max.message.bytes"] == str(kafka_batches.RECORD_BYTES_MAX)


async def test_a_node_that_only_reads_finds_out_that_kafka_is_away(
    harness: KafkaHarness, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_consumer, "REQUEST_MS", 1000)
    async with harness.new() as bus, bus.consume(topic, [0]) as reader, asyncio.TaskGroup() as group:
        reading = group.create_task(read_until(reader, b"end"))
        async with asyncio.timeout(LONG_S):
            await publish_until_done(bus, Record(topic, b"x", 0))
            await until(lambda: bus.connected)
            async with harness.outage():
                await until(lambda: topic in bus.trouble)
                assert not bus.connected
            await until(lambda: not bus.trouble)
        await publish_until_done(bus, Record(topic, b"end", 0))
        await reading


async def test_a_reader_that_is_busy_with_what_it_got_does_not_take_kafka_for_silent(bus: KafkaBus, topic: str) -> None:
    async with bus.consume(topic, [0]) as reader:
        await bus.publish([Record(topic, b"x", 0)])
        await read_until(reader, b"x")
        reader._hearing._heard_s -= 3600
        assert (reader.quiet_s, reader.connected) == (0.0, True)


# ---- clocks


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock that a producer writes into its records is two hours ahead."""
    real = BatchBuilder.append

    def append(self: BatchBuilder, *, timestamp: int | None, **fields: Any) -> Any:
        assert timestamp is None
        return real(self, timestamp=round(1000 * time.time()) + 7_200_000, **fields)

    monkeypatch.setattr(BatchBuilder, "append", append)


@pytest.mark.usefixtures("ahead")
async def test_a_node_whose_clock_is_hours_ahead_publishes_and_the_time_of_a_record_is_the_brokers(
    bus: KafkaBus, topic: str
) -> None:
    async with bus.consume(topic, [0]) as reader:
        await bus.publish([Record(topic, b"x", 0)])
        (record,) = await read_until(reader, b"x")
    assert abs(record.timestamp_ms / 1000 - time.time()) < LONG_S


@pytest.mark.usefixtures("ahead")
async def test_a_topic_that_was_there_before_gets_the_brokers_time_and_keeps_what_else_is_set(
    harness: KafkaHarness, bus: KafkaBus
) -> None:
    name = harness.topic()
    async with harness.admin() as admin:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"retention.ms": "7000000"})])
    async with asyncio.timeout(LONG_S):
        while await bus.partitions(name) < 1:
            pass  # each answer takes its time
    with pytest.raises(Unavailable, match=r"InvalidTimestamp.*clock.*prepare"):
        await bus.publish([Record(name, b"x", 0)])
    await bus.ensure_topics([Topic(name, partitions=1)])
    configs = await harness.configs(name)
    assert configs == {"retention.ms": "7000000", "message.timestamp.type": "LogAppendTime"}
    await publish_until_done(bus, Record(name, b"y", 0))


async def test_without_kafka_a_node_starts_and_says_where_it_looked() -> None:
    async with KafkaBus(["127.0.0.1:1"], "test", publish_timeout_s=0.5) as bus, bus.consume("none", [0]) as reader:
        with pytest.raises(Unavailable):
            await bus.publish([Record("none", b"x", 0)])
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            await bus.partitions("none")
        assert reader.positions == {}
        assert reader.lag == 0


def test_no_address_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one address"):
        KafkaBus([], "test")
