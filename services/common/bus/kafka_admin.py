"""Kafka's topics: made if they are not there, never unmade.

Guarantees: harmless when several nodes do it at once; returns when every partition has a leader.
Does not know: what the topics are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import (
    InvalidPartitionsError,
    KafkaError,
    LeaderNotAvailableError,
    NoError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from services.common.bus.contract import Topic
from services.common.bus.kafka_producer import RECORD_BYTES_MAX
from services.common.errors import Unavailable

_log = structlog.get_logger(__name__)

REQUEST_MS = 5_000
LEADERS_S = 15.0
PAUSE_S = 0.1


class KafkaAdmin:
    """A connection for each call: there are few."""

    def __init__(self, bootstrap: list[str], client_id: str, security: Mapping[str, Any]) -> None:
        """`security`: what a client's constructor is given (kafka_security.py)."""
        self._bootstrap = bootstrap
        self._security = security
        self._client_id = client_id

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        async with self._connected() as admin:
            there = await _partitions(admin, [topic.name for topic in topics])
            missing = [topic for topic in topics if there[topic.name] == 0]
            smaller = [topic for topic in topics if 0 < there[topic.name] < topic.partitions]
            if missing:
                answer = await admin.create_topics([_new(topic) for topic in missing], timeout_ms=REQUEST_MS)
                _check(answer.topic_errors, TopicAlreadyExistsError)
                _log.info("kafka topics created", topics=[topic.name for topic in missing])
            if smaller:
                wanted = {topic.name: NewPartitions(topic.partitions) for topic in smaller}
                answer = await admin.create_partitions(wanted, timeout_ms=REQUEST_MS)
                # Somebody else may have added them first.
                _check(answer.topic_errors, InvalidPartitionsError)
            if missing or smaller:
                await _wait_for_leaders(admin, {topic.name: topic.partitions for topic in topics})

    async def partitions(self, topic: str) -> int:
        async with self._connected() as admin:
            return (await _partitions(admin, [topic]))[topic]

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self._bootstrap,
            client_id=self._client_id,
            request_timeout_ms=REQUEST_MS,
            **self._security,
        )
        try:
            async with asyncio.timeout(LEADERS_S + REQUEST_MS / 1000):
                await admin.start()
                yield admin
        except (KafkaError, OSError, TimeoutError) as error:
            name = type(error).__name__
            raise Unavailable(f"the bus (Kafka) at {', '.join(self._bootstrap)} does not answer ({name})") from error
        finally:
            await admin.close()


async def _partitions(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, int]:
    """How many partitions each has; 0: there is no such topic."""
    counts = dict.fromkeys(names, 0)
    for topic in await admin.describe_topics(names):
        error = for_code(topic["error_code"])
        if error is NoError:
            counts[topic["topic"]] = len(topic["partitions"])
        elif error not in (UnknownTopicOrPartitionError, LeaderNotAvailableError):
            raise error(topic["topic"])
    return counts


async def _wait_for_leaders(admin: AIOKafkaAdminClient, wanted: dict[str, int]) -> None:
    async with asyncio.timeout(LEADERS_S):
        while True:
            topics = await admin.describe_topics(list(wanted))
            led = {
                topic["topic"]: sum(partition["leader"] >= 0 for partition in topic["partitions"]) for topic in topics
            }
            if all(led.get(name, 0) >= count for name, count in wanted.items()):
                return
            await asyncio.sleep(PAUSE_S)


def _new(topic: Topic) -> NewTopic:
    return NewTopic(
        topic.name,
        topic.partitions,
        topic.replication,
        topic_configs={
            "retention.ms": str(topic.retention_ms),
            "retention.bytes": str(topic.retention_bytes),
            "max.message.bytes": str(RECORD_BYTES_MAX),
            "min.insync.replicas": str(2 if topic.replication > 2 else 1),
        },
    )


def _check(outcomes: Sequence[Sequence[Any]], harmless: type[KafkaError]) -> None:
    """Raises what went wrong, but for what another node did first. Each outcome is (topic, code, message, ...)."""
    for name, code, *_ in outcomes:
        error = for_code(code)
        if error is not NoError and error is not harmless:
            raise error(name)
