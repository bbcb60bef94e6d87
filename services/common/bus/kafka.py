"""The bus on Kafka, by aiokafka.

    kafka_producer.py   one idempotent producer for the node, made anew when it is broken
    kafka_consumer.py   a consumer for each subscription, with positions of its own
    kafka_admin.py      topics

Guarantees: those of the contract. A node starts and goes on without Kafka. Leaving waits a moment for what was
published, then ends; nothing runs on afterwards.

Does not know: consumer groups. Who reads which partition is decided in the registry.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from services.common.bus.contract import OnGap, Record, Topic
from services.common.bus.kafka_admin import KafkaAdmin
from services.common.bus.kafka_consumer import KafkaSubscription
from services.common.bus.kafka_producer import KafkaProducer
from services.common.bus.kafka_security import PLAINTEXT, KafkaSecurity
from services.common.scope import TaskScope


class KafkaBus:
    """One node's view of Kafka. Use it as an async context manager; subscriptions are left before it."""

    def __init__(
        self,
        bootstrap: Sequence[str],
        client_id: str,
        *,
        publish_timeout_s: float = 2.0,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        """`bootstrap`: host:port of brokers to begin with; `client_id`: the node's name, for Kafka's logs.

        Raises OSError, ssl.SSLError if a file of `security` cannot be used.
        """
        if not bootstrap:
            raise ValueError("Kafka needs at least one address to begin with, host:port")
        self._bootstrap = list(bootstrap)
        self._client_id = client_id
        self._renew = security.renew
        self._security = security.options()
        self._producer = KafkaProducer(self._bootstrap, client_id, publish_timeout_s, self._security)
        self._admin = KafkaAdmin(self._bootstrap, client_id, self._security)
        self._scope = TaskScope()

    @property
    def connected(self) -> bool:
        return self._producer.connected

    async def publish(self, records: Sequence[Record]) -> None:
        await self._producer.publish(records)

    def consume(
        self, topic: str, partitions: Sequence[int], *, from_end: bool = True, on_gap: OnGap | None = None
    ) -> KafkaSubscription:
        return KafkaSubscription(
            self._bootstrap,
            self._client_id,
            topic,
            partitions,
            from_end=from_end,
            on_gap=on_gap,
            security=self._security,
        )

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        await self._admin.ensure_topics(topics)

    async def partitions(self, topic: str) -> int:
        return await self._admin.partitions(topic)

    async def renew_certificate(self) -> None:
        """Its files have changed (certificates.py)."""
        await self._renew(self._security)

    async def __aenter__(self) -> Self:
        # It tells every try of every connection; this adapter tells when Kafka goes and when it is back.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        await self._scope.__aenter__()
        self._scope.spawn(self._producer.run(), name="kafka producer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self._producer.flush()
        await self._scope.__aexit__(kind, error, traceback)
