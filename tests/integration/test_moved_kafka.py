"""A real Kafka that comes back under another advertised address: whoever has learned the old one finds it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from services.common.bus.contract import Record, Subscription, Topic
from services.common.bus.kafka.bus import KafkaBus
from tests.integration.test_secure_backends import running, until
from tests.support.cluster.backends import clean_environment, free_port_base
from tests.support.network.ports import free_address
from tidings_protocol.errors import Unavailable
from tools.cli.stack.ports import Ports
from tools.cli.stack.programs import supply as programs
from tools.cli.stack.programs.kafka import Kafka, probe_kafka
from tools.cli.stack.programs.program import NotReadyError

pytestmark = pytest.mark.integration

MOVED_S = 90.0


@asynccontextmanager
async def advertised(kafka: Kafka, address: str) -> AsyncIterator[None]:
    """Kafka runs within, and sends its clients to this address, where it listens besides its own."""
    replace(kafka, advertised=address).prepare()
    told = kafka.properties_file.read_text()
    told = told.replace(
        f"\nlisteners=PLAINTEXT://{kafka.here}", f"\nlisteners=PLAINTEXT://{kafka.here},OTHER://{address}"
    )
    told = told.replace(
        f"advertised.listeners=PLAINTEXT://{address}", f"advertised.listeners=PLAINTEXT://{address},OTHER://{address}"
    )
    told = told.replace("protocol.map=", "protocol.map=OTHER:PLAINTEXT,")
    kafka.properties_file.write_text(told)
    with running(kafka.command(), dict(kafka.environment()), kafka.data / "log"):
        await until(lambda: probe_kafka(kafka.here), NotReadyError)
        yield


async def read(records: Subscription) -> list[bytes]:
    async with asyncio.timeout(MOVED_S):
        return [record.value for record in await anext(aiter(records))]


async def test_a_subscription_hears_a_kafka_again_that_came_back_under_another_address(tmp_path: Path) -> None:
    found = programs.find(["kafka"], clean_environment())
    ports = Ports(free_port_base())
    kafka = Kafka(found.kafka, found.kafka_storage, ports, tmp_path / "kafka", clean_environment())
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(KafkaBus([kafka.here], "test", publish_timeout_s=4))
        async with advertised(kafka, free_address()):
            await until(lambda: bus.ensure_topics([Topic("t", 1)]), Unavailable)
            records = await stack.enter_async_context(bus.consume("t", [0]))
            await until(lambda: bus.publish([Record("t", b"before", partition=0)]), Unavailable)
            assert await read(records) == [b"before"]
            reading = asyncio.create_task(read(records))
        async with advertised(kafka, free_address()):
            await until(lambda: bus.publish([Record("t", b"after", partition=0)]), Unavailable)
            assert set(await reading) == {b"after"}
            assert not bus.trouble
