"""A producer is closed whatever happens meanwhile. That it publishes is shown on a real Kafka: tests/contract/bus."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from services.common.bus.kafka.closing import close_producer


# After so many turns of the loop the cancellation comes: wherever closing is then.
@pytest.mark.parametrize("steps", range(1, 4))
async def test_a_producer_is_closed_also_when_its_node_stops_while_it_is_being_closed(steps: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", acks="all", enable_idempotence=True)
    closing = asyncio.create_task(close_producer(producer))
    for _ in range(steps):
        await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert producer._closed
