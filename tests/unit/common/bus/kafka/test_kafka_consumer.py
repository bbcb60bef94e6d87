"""The end of a Kafka consumer that may be broken, and the one that is made after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError

from services.common.backoff import Backoff
from services.common.bus.kafka import consumer as kafka_consumer
from services.common.bus.kafka.consumer import KafkaSubscription
from services.common.telemetry import metrics


class FakeClient:
    def __init__(self) -> None:
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


class FakeConsumer:
    """`problem`: what its end raises; None: it never ends by itself."""

    def __init__(self, problem: BaseException | None) -> None:
        self._client = FakeClient()
        self._problem = problem

    async def stop(self) -> None:
        if self._problem is None:
            await asyncio.Event().wait()
        else:
            raise self._problem


async def stop(consumer: FakeConsumer) -> None:
    await kafka_consumer._stop(cast("AIOKafkaConsumer", cast("Any", consumer)))


@pytest.mark.parametrize("problem", [asyncio.CancelledError(), KafkaConnectionError("away"), OSError("gone")])
async def test_whatever_its_end_raises_is_no_end_of_who_asked_and_the_client_is_closed(problem: BaseException) -> None:
    consumer = FakeConsumer(problem)
    before = metrics.BUS_CONSUMERS._value.get()
    asking = asyncio.create_task(stop(consumer))
    await asyncio.wait_for(asking, 5)
    assert not asking.cancelled()
    assert consumer._client.closed == 1
    assert metrics.BUS_CONSUMERS._value.get() == before - 1


async def test_who_is_cancelled_meanwhile_is_cancelled_and_the_client_is_closed() -> None:
    consumer = FakeConsumer(None)
    asking = asyncio.create_task(stop(consumer))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert consumer._client.closed == 1


async def test_an_end_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_consumer, "CLOSE_S", 0.01)
    consumer = FakeConsumer(None)
    await asyncio.wait_for(stop(consumer), 5)
    assert consumer._client.closed == 1


# ---- a consumer that Kafka does not answer any more


class Kafka:
    """Makes consumers, and holds the records of one partition."""

    def __init__(self) -> None:
        self.made: list[Polled] = []
        self.records = [b"0"]

    def consumer(self, **_: Any) -> Polled:
        self.made.append(Polled(self))
        return self.made[-1]

    def move(self) -> None:
        """It is somewhere else: those that exist do not hear it any more."""
        for each in self.made:
            each.heard = False


class Polled(FakeConsumer):
    """A consumer whose polls take no time."""

    def __init__(self, kafka: Kafka) -> None:
        super().__init__(KafkaConnectionError("away"))
        self.heard = True
        self.polls = 0
        self._kafka = kafka
        self._fetched_ms = 0
        self._position = 0

    async def start(self) -> None: ...

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._partitions = partitions

    def assignment(self) -> list[TopicPartition]:
        return self._partitions

    def highwater(self, _: TopicPartition) -> int:
        return len(self._kafka.records)

    def seek(self, _: TopicPartition, position: int) -> None:
        self._position = position

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def last_poll_timestamp(self, _: TopicPartition) -> int | None:
        return self._fetched_ms or None

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        await asyncio.sleep(0)
        self.polls += 1
        if not self.heard:
            return {}
        self._fetched_ms += 500
        found = self._kafka.records[self._position :]
        first, self._position = self._position, self._position + len(found)
        (place,) = self._partitions
        records = [record(place, first + number, value) for number, value in enumerate(found)]
        return {place: records} if records else {}


def record(place: TopicPartition, offset: int, value: bytes) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(place.topic, place.partition, offset, 1, 1, None, value, None, 0, len(value), ())


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    kafka = Kafka()
    monkeypatch.setattr(kafka_consumer, "AIOKafkaConsumer", kafka.consumer)
    return kafka


@pytest.fixture
async def reader(kafka: Kafka) -> AsyncIterator[KafkaSubscription]:
    reader = KafkaSubscription(["k:1"], "test", "t", [0], from_end=False, on_gap=None, security={}, entered=set())
    reader._backoff = Backoff(0.0)
    async with reader:
        assert [each.value for each in await anext(reader)] == [b"0"]
        yield reader


async def test_a_consumer_that_is_not_answered_is_made_anew_from_the_position_that_was_reached(
    kafka: Kafka, reader: KafkaSubscription
) -> None:
    kafka.move()
    kafka.records.append(b"1")
    async with asyncio.timeout(5):
        assert [(each.offset, each.value) for each in await anext(reader)] == [(1, b"1")]
    old, new = kafka.made
    assert old.polls == 1 + kafka_consumer.UNANSWERED_POLLS_MAX
    assert old._client.closed == 1
    assert new.heard


async def test_a_quiet_topic_keeps_its_consumer(kafka: Kafka, reader: KafkaSubscription) -> None:
    (consumer,) = kafka.made
    waiting = asyncio.create_task(anext(reader))
    while consumer.polls < 10 * kafka_consumer.UNANSWERED_POLLS_MAX:  # noqa: ASYNC110 - a plain value of the fake
        await asyncio.sleep(0)
    kafka.records.append(b"1")
    assert [each.value for each in await waiting] == [b"1"]
    assert kafka.made == [consumer]
