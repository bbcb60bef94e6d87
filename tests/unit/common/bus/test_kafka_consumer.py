"""The end of a Kafka consumer that may be broken."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError

from services.common.bus import kafka_consumer
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
