"""Watching over the topics that this node needs: one that Kafka does not know any more is made again.

Kafka that lost its disk comes back without topics. To its clients that is a passing state: a consumer asks for metadata
for ever and says nothing, a producer's records expire. So while something is quiet, and only then, Kafka is asked for
the topics. One that it does not know for `UNKNOWN_S` is made again, by whichever node is first; every node then begins
anew with it.

Guarantees: nothing is asked while all is well; a topic is never changed beyond what `ensure_topics` does; if this node
may not make it, `trouble` names it and says what to do.

Does not know: who reads or writes the topics.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from services.common.bus.contract import Topic
from services.common.bus.kafka.admin import KafkaAdmin
from services.common.telemetry import logs
from tidings_protocol.errors import Unavailable

log = logs.get_logger(__name__)

LOOK_S = 1.0
# A broker that starts may not know its topics for a moment.
UNKNOWN_S = 2.0


class TopicGuard:
    """`run` it in a task. `suspects`: whether something is quiet; `begin_anew`: with this topic, which was lost."""

    def __init__(self, admin: KafkaAdmin, suspects: Callable[[], bool], begin_anew: Callable[[str], None]) -> None:
        self.trouble = ""
        self._admin = admin
        self._suspects = suspects
        self._begin_anew = begin_anew
        self._wanted: dict[str, Topic] = {}
        self._unknown: dict[str, float] = {}  # since when

    def want(self, topics: Sequence[Topic]) -> None:
        """Watches over these from now on."""
        self._wanted.update((topic.name, topic) for topic in topics)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self.step()

    async def step(self) -> None:
        """Looks, if there is a reason to."""
        if not self._wanted or not (self._unknown or self._suspects()):
            return
        try:
            await self._look()
        except Unavailable as error:
            # Either Kafka is away, which others tell, or it does not let this node do it.
            self.trouble = error.message if self._unknown else ""

    async def _look(self) -> None:
        """Raises Unavailable."""
        unknown = {topic.name for topic in await self._admin.unknown(list(self._wanted.values()))}
        now = time.monotonic()
        for name in [name for name in self._unknown if name not in unknown]:
            self._found(name)
        for name in unknown:
            self._unknown.setdefault(name, now)
        due = [self._wanted[name] for name, since in self._unknown.items() if now - since >= UNKNOWN_S]
        if due:
            log.warning("kafka has lost topics: they are made again", topics=[topic.name for topic in due])
            await self._admin.ensure_topics(due)
            for topic in due:
                self._found(topic.name)
        if not self._unknown:
            self.trouble = ""

    def _found(self, name: str) -> None:
        del self._unknown[name]
        self._begin_anew(name)
