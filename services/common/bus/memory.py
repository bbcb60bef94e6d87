"""The bus's twin in memory, for simulation and fast tests. It fails on command and knows no time.

    broker = MemoryBroker()
    bus = MemoryBus(broker)                     one for each node
    broker.away() / broker.back()               publishing fails at once, reading waits
    broker.swallow(n)                           the next n publishes are stored, but their outcome is Unavailable
    broker.drop("tidings.deliver", 3)           the records of a partition are lost, offsets go on
    broker.refuse("tidings.deliver", 3)         nothing is published to this partition any more, as without a leader
    broker.wipe()                               all topics are lost; who ensured one makes it again when it needs it
    bus.cut() / bus.heal()                      just this node does not reach the bus

Guarantees: those of the contract.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence

from services.common.bus.contract import ConsumedRecord, OnGap, Record, Topic
from services.common.scope import Owned
from tidings_protocol.errors import TooLarge, Unavailable
from tidings_protocol.ids import hash64

BATCH_MAX = 500
VALUE_BYTES_MAX = 16 * 1024 * 1024


class _Partition:
    """Records from `start` on; their offsets have no holes."""

    def __init__(self) -> None:
        self.start = 0
        self.records: list[ConsumedRecord] = []

    @property
    def end(self) -> int:
        return self.start + len(self.records)


class MemoryBroker:
    """What Kafka holds."""

    def __init__(self) -> None:
        self.is_away = False
        self._topics: dict[str, list[_Partition]] = {}
        self._swallow = 0
        self.refused: set[tuple[str, int]] = set()
        self._changed = asyncio.Event()

    def away(self) -> None:
        """From now on nobody is answered."""
        self.is_away = True

    def back(self) -> None:
        """Everyone is answered again."""
        self.is_away = False
        self.wake()

    def swallow(self, count: int) -> None:
        """The next publishes are done, but whoever asked is told that they are not."""
        self._swallow = count

    def drop(self, topic: str, partition: int) -> None:
        """What this partition holds is lost; a topic that is gone holds nothing."""
        if topic in self._topics:
            lost = self._topics[topic][partition]
            lost.start, lost.records = lost.end, []

    def refuse(self, topic: str, partition: int) -> None:
        """This partition has no leader."""
        self.refused.add((topic, partition))

    def wipe(self) -> None:
        """The broker loses its disk."""
        self._topics.clear()
        self.wake()

    def wake(self) -> None:
        """Whoever waits looks again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        await self._changed.wait()

    def topic(self, name: str) -> list[_Partition]:
        return self._topics.get(name, [])

    def ensure(self, topic: Topic) -> None:
        there = self._topics.setdefault(topic.name, [])
        there.extend(_Partition() for _ in range(topic.partitions - len(there)))

    def append(self, records: Sequence[Record]) -> bool:
        """Stores them; False if whoever asked shall not know."""
        for record in records:
            partitions = self._topics[record.topic]
            number = record.partition
            if number is None:
                number = hash64((record.key or b"").hex()) % len(partitions)
            target = partitions[number]
            stored = ConsumedRecord(record.topic, number, target.end, record.value, record.key, record.headers)
            target.records.append(stored)
        self.wake()
        self._swallow, known = max(0, self._swallow - 1), self._swallow == 0
        return known


class MemorySubscription(Owned):
    """One reader's positions."""

    def __init__(
        self, bus: MemoryBus, topic: str, partitions: Sequence[int], from_end: bool, on_gap: OnGap | None
    ) -> None:
        self.positions: dict[int, int] = {}
        self._bus = bus
        self._topic = topic
        self._partitions = tuple(partitions)
        self._from_end = from_end
        self._on_gap = on_gap
        self._seen: dict[int, _Partition] = {}
        self._is_late = False

    @property
    def lag(self) -> int:
        there = dict(enumerate(self._bus.broker.topic(self._topic)))
        return sum(there[number].end - position for number, position in self.positions.items() if number in there)

    @property
    def quiet_s(self) -> float:
        """The twin knows no time: either it is heard or it is not."""
        return 0.0 if self._bus.connected else math.inf

    def __aiter__(self) -> AsyncIterator[list[ConsumedRecord]]:
        return self

    async def __anext__(self) -> list[ConsumedRecord]:
        while True:
            batch = self._poll() if self._bus.connected else []
            if batch:
                return batch
            await self._bus.broker.changed()

    async def _running(self) -> AsyncIterator[None]:
        self._resolve()
        self._is_late = self._from_end
        yield

    def _resolve(self) -> None:
        there = self._bus.topic(self._topic)
        if not self._bus.connected or len(there) <= max(self._partitions, default=0):
            return
        for number in self._partitions:
            partition = there[number]
            seen = self._seen.get(number)
            if seen is None:
                self.positions.setdefault(number, partition.end if self._from_end else partition.start)
            if (seen is None and self._is_late) or (seen is not None and seen is not partition):
                if seen is not None:
                    self.positions[number] = partition.start
                self._tell_gap(number)
            self._seen[number] = partition

    def _poll(self) -> list[ConsumedRecord]:
        self._resolve()
        batch: list[ConsumedRecord] = []
        there = dict(enumerate(self._bus.broker.topic(self._topic)))
        for number, position in self.positions.items():
            if number not in there:
                continue
            partition = there[number]
            if position < partition.start:
                position = partition.start
                self._tell_gap(number)
            first = position - partition.start
            found = partition.records[first : first + BATCH_MAX - len(batch)]
            self.positions[number] = position + len(found)
            batch += found
        return batch

    def _tell_gap(self, number: int) -> None:
        if self._on_gap is not None:
            self._on_gap(self._topic, number)


class MemoryBus(Owned):
    """One node's view of the broker."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self._cut = False
        self._wanted: dict[str, Topic] = {}

    @property
    def connected(self) -> bool:
        return not self.broker.is_away and not self._cut

    @property
    def trouble(self) -> str:
        return "" if self.connected else "Kafka does not take records"

    def topic(self, name: str) -> list[_Partition]:
        """The topic as it is; one that was ensured by this node and is lost is made again."""
        there = self.broker.topic(name)
        if not there and name in self._wanted and self.connected:
            self.broker.ensure(self._wanted[name])
            there = self.broker.topic(name)
        return there

    async def publish(self, records: Sequence[Record]) -> None:
        self._check()
        for record in records:
            there = len(self.topic(record.topic))
            if len(record.value) > VALUE_BYTES_MAX:
                raise TooLarge(f"a record of {len(record.value)} bytes is more than the bus takes")
            if (record.topic, record.partition) in self.broker.refused:
                raise Unavailable(f"partition {record.partition} of {record.topic} has no leader: try again")
            if there <= (record.partition or 0):
                raise Unavailable(f"the topic {record.topic} has {there} partitions: ensure it first")
        if not self.broker.append(records):
            raise Unavailable("the bus (Kafka) did not answer in time, and may have the records: try again")

    def consume(
        self, topic: str, partitions: Sequence[int], *, from_end: bool = True, on_gap: OnGap | None = None
    ) -> MemorySubscription:
        return MemorySubscription(self, topic, partitions, from_end, on_gap)

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        self._wanted.update((topic.name, topic) for topic in topics)
        self._check()
        for topic in topics:
            self.broker.ensure(topic)
        self.broker.wake()

    async def partitions(self, topic: str) -> int:
        self._check()
        return len(self.broker.topic(topic))

    def cut(self) -> None:
        """This node reaches the bus no more."""
        self._cut = True

    def heal(self) -> None:
        """This node reaches the bus again."""
        self._cut = False
        self.broker.wake()

    async def _running(self) -> AsyncIterator[None]:
        yield

    def _check(self) -> None:
        if not self.connected:
            raise Unavailable("the bus (Kafka) does not answer: try again")
