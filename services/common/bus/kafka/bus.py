"""The bus on Kafka, by aiokafka.

    producer.py   one idempotent producer for the node, made anew when it is broken
    batches.py    records packed by partition
    closing.py    the end of a producer that may be broken
    consumer.py   a consumer for each subscription, with positions of its own
    hearing.py    whether a consumer hears Kafka, and when it is lost
    admin.py      topics
    topics.py     topics that Kafka has lost are made again

Guarantees: those of the contract. A node starts and goes on without Kafka. Leaving waits a moment for what was
published, then ends; nothing runs on afterwards.

Does not know: consumer groups. Who reads which partition is decided in the registry.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence

from services.common.bus.contract import OnGap, Record, Topic
from services.common.bus.kafka.admin import KafkaAdmin
from services.common.bus.kafka.consumer import KafkaSubscription
from services.common.bus.kafka.producer import KafkaProducer
from services.common.bus.kafka.security import PLAINTEXT, KafkaSecurity
from services.common.bus.kafka.topics import TopicGuard
from services.common.scope import Owned, TaskScope
from tidings_protocol.errors import Unavailable

# Kafka answers a fetch twice a second when it has nothing.
QUIET_S = 2.5


class KafkaBus(Owned):
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
        self._subscriptions: set[KafkaSubscription] = set()
        self._guard = TopicGuard(self._admin, self._is_quiet, self._begin_anew)
        self._scope = TaskScope()

    @property
    def connected(self) -> bool:
        return not self.trouble

    @property
    def trouble(self) -> str:
        if self._guard.trouble:
            return self._guard.trouble
        unheard = sorted({each.topic for each in self._subscriptions if not each.connected})
        if unheard:
            return f"Kafka is not heard: nothing is read from {', '.join(unheard)}"
        return "" if self._producer.connected else "Kafka does not take records"

    async def publish(self, records: Sequence[Record]) -> None:
        try:
            await self._producer.publish(records)
        except Unavailable as error:
            if self._guard.trouble:
                raise Unavailable(self._guard.trouble) from error
            raise

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
            entered=self._subscriptions,
        )

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        self._guard.want(topics)
        await self._admin.ensure_topics(topics)

    async def partitions(self, topic: str) -> int:
        return await self._admin.partitions(topic)

    async def renew_certificate(self) -> None:
        """The files of its certificate have changed: common/certificates.py says so."""
        await self._renew(self._security)

    async def _running(self) -> AsyncIterator[None]:
        # It tells every try of every connection; this adapter tells when Kafka goes and when it is back.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        async with self._scope:
            self._scope.spawn(self._producer.run(), name="kafka producer")
            self._scope.spawn(self._guard.run(), name="kafka topics")
            yield
            await self._producer.flush()

    def _is_quiet(self) -> bool:
        return not self._producer.connected or any(each.quiet_s > QUIET_S for each in self._subscriptions)

    def _begin_anew(self, topic: str) -> None:
        self._producer.replace()
        for each in self._subscriptions:
            if each.topic == topic:
                each.topic_was_made_anew()
