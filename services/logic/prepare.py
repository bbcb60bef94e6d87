"""`python -m services.logic.prepare`: makes the topics, or lets them grow to what the settings say, and ends.

For a job that runs before the nodes, where these have no right to make topics, or where it shall be done once and seen
to be done. Nodes do the same at their start.

Guarantees: may run again at any time, also beside nodes; waits until Kafka answers; exit code 0 means done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common import lifecycle
from services.common.bus.topics import make_topics
from services.common.lifecycle import Lifecycle
from services.common.telemetry import logs
from services.logic.publishing.topics import topics_of
from services.logic.settings import LogicSettings

log = logs.get_logger(__name__)


@asynccontextmanager
async def prepare(settings: LogicSettings, life: Lifecycle) -> AsyncIterator[None]:
    """Makes the topics when it is entered; then asks the process to stop."""
    from services.common.bus.kafka.bus import KafkaBus
    from services.common.bus.kafka.security import kafka_security_of

    topics = topics_of(settings)
    async with KafkaBus(settings.kafka_bootstrap, settings.node, security=kafka_security_of(settings)) as bus:
        await make_topics(bus, topics, given_up=lambda: life.stop_requested)
    log.info("topics are there", topics=[topic.name for topic in topics])
    life.request_stop()
    yield


if __name__ == "__main__":
    lifecycle.run("logic", LogicSettings, prepare)
