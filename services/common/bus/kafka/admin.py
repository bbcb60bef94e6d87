"""Kafka's topics: made if they are not there, never unmade.

The time of a record is the broker's (LogAppendTime), also in topics that were there before, where this node may change
that: with the producer's own time, a node whose clock is more than an hour ahead would publish nothing any more.

Guarantees: harmless when several nodes do it at once; returns when every partition has a leader. What is set for a
topic beside this stays as it is.
Does not know: what the topics are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidPartitionsError,
    KafkaError,
    LeaderNotAvailableError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from services.common.bus.contract import Topic
from services.common.bus.kafka.batches import RECORD_BYTES_MAX
from services.common.telemetry import logs
from tidings_protocol.errors import Unavailable

log = logs.get_logger(__name__)

REQUEST_MS = 5_000
LEADERS_S = 15.0
PAUSE_S = 0.1
TIME_CONFIG = "message.timestamp.type"
TIME_OF_THE_BROKER = "LogAppendTime"
# In an answer: set for this topic, not inherited.
SET_HERE = 1


class KafkaAdmin:
    """A connection for each call: there are few."""

    def __init__(self, bootstrap: list[str], client_id: str, security: Mapping[str, Any]) -> None:
        """`security`: what a client's constructor is given (security.py)."""
        self._bootstrap = bootstrap
        self._security = security
        self._client_id = client_id

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        async with self._connected() as admin:
            there = await _partitions(admin, [topic.name for topic in topics])
            missing = [topic for topic in topics if there[topic.name] == 0]
            smaller = [topic for topic in topics if 0 < there[topic.name] < topic.partitions]
            if missing:
                names = ", ".join(topic.name for topic in missing)
                answer = await admin.create_topics([_new(topic) for topic in missing], timeout_ms=REQUEST_MS)
                _check(answer.topic_errors, TopicAlreadyExistsError, f"make the topic {names}")
                log.info("kafka topics created", topics=[topic.name for topic in missing])
            if smaller:
                wanted = {topic.name: NewPartitions(topic.partitions) for topic in smaller}
                answer = await admin.create_partitions(wanted, timeout_ms=REQUEST_MS)
                # Somebody else may have added them first.
                _check(answer.topic_errors, InvalidPartitionsError, f"let the topic {', '.join(wanted)} grow")
            if missing or smaller:
                await _wait_for_leaders(admin, {topic.name: topic.partitions for topic in topics})
            await _let_the_broker_tell_the_time(admin, [topic.name for topic in topics if topic not in missing])

    async def unknown(self, topics: Sequence[Topic]) -> list[Topic]:
        """Those that are not there, or have too few partitions. Raises Unavailable."""
        async with self._connected() as admin:
            there = await _partitions(admin, [topic.name for topic in topics])
            return [topic for topic in topics if there[topic.name] < topic.partitions]

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
            raise Unavailable(
                f"the bus (Kafka) at {', '.join(self._bootstrap)} does not answer ({name}): "
                "look whether it runs, and whether kafka_bootstrap and the login are right"
            ) from error
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


async def _let_the_broker_tell_the_time(admin: AIOKafkaAdminClient, names: list[str]) -> None:
    """In topics that are older than this, where this node may. Kafka's call replaces all that is set for a topic."""
    if not names:
        return
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    changed: list[ConfigResource] = []
    for response in await admin.describe_configs(asked):
        for code, _, _, name, entries in response.resources:
            if code:
                log.info("settings of a topic cannot be read", topic=name, reason=for_code(code).__name__)
                continue
            configs = {entry[0]: entry[1] for entry in entries if entry[3] == SET_HERE}
            if configs.get(TIME_CONFIG) != TIME_OF_THE_BROKER:
                configs[TIME_CONFIG] = TIME_OF_THE_BROKER
                changed.append(ConfigResource(ConfigResourceType.TOPIC, name, configs))
    if not changed:
        return
    for response in await admin.alter_configs(changed):
        for code, _, _, name, *_ in response.resources:
            if code:
                reason = for_code(code).__name__
                log.warning("records keep the time of who publishes: run the job prepare", topic=name, reason=reason)
            else:
                log.info("records have the time of the broker from now on", topic=name)


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
            TIME_CONFIG: TIME_OF_THE_BROKER,
            # As it was sent, whatever the broker's own setting: aiokafka reads zstd, lz4 and snappy with extras alone.
            "compression.type": "producer",
            "min.insync.replicas": str(2 if topic.replication > 2 else 1),
        },
    )


def _check(outcomes: Sequence[Sequence[Any]], harmless: type[KafkaError], what: str) -> None:
    """Raises what went wrong, but for what another node did first. Each outcome is (topic, code, message, ...)."""
    for name, code, *_ in outcomes:
        error = for_code(code)
        if error in (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            raise Unavailable(f"this node may not {what} in Kafka: run the job `prepare` with a login that may")
        if error is not NoError and error is not harmless:
            raise error(name)
