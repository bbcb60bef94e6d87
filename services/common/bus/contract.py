"""The bus as the services see it: one port, an adapter for Kafka, a twin in memory.

Guarantees (the contract suite in tests/contract/bus holds both to them):
- `publish` returns when every record is durable on the bus. When it raises Unavailable, each of them may be there or
  not, and may still arrive: repeat it, readers cope with doubles;
- records of one partition are read in the order in which they were published, those of one `publish` in the order
  given;
- `consume` reads each record of the given partitions from a position that is fixed when it is entered (or as soon as
  the bus is there), at least once, across reconnects; nothing is committed anywhere and nobody else is moved. Records
  that the bus has lost or dropped before they were read are passed over, and `on_gap` says so; so it does when an end
  could only be fixed after entering;
- a topic that was ensured and that the bus has lost is made again, and read from its beginning, with `on_gap`;
- while the bus is away `publish` raises after its time and `consume` waits; both go on by themselves.

Does not know: what is in a record, who reads which partition.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Header = tuple[str, bytes]
OnGap = Callable[[str, int], None]


class Record(NamedTuple):
    """What is published. Without a partition the key decides on one; without both, any."""

    topic: str
    value: bytes
    partition: int | None = None
    key: bytes | None = None
    headers: tuple[Header, ...] = ()


class ConsumedRecord(NamedTuple):
    """What is read."""

    topic: str
    partition: int
    offset: int
    value: bytes
    key: bytes | None = None
    headers: tuple[Header, ...] = ()
    timestamp_ms: int = 0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it shall be; `retention_ms` and `retention_bytes` (of each partition; -1: any) bound what is kept."""

    name: str
    partitions: int
    replication: int = 1
    retention_ms: int = 3_600_000
    retention_bytes: int = -1


class Subscription(AbstractAsyncContextManager["Subscription", None], Protocol):
    """Batches of records, in order. An async context manager and an async iterator; read it from one task."""

    @property
    def positions(self) -> Mapping[int, int]:
        """Partition to the offset of the record that comes next; empty until the bus has told where the end is."""
        ...

    @property
    def lag(self) -> int:
        """Records that are on the bus and not read yet, as far as known."""
        ...

    @property
    def quiet_s(self) -> float:
        """How long the bus has said nothing to who waits for records, not even that there are none: while all is
        well below a second."""
        ...

    def __aiter__(self) -> AsyncIterator[list[ConsumedRecord]]: ...

    async def __anext__(self) -> list[ConsumedRecord]: ...


class Bus(AbstractAsyncContextManager["Bus", None], Protocol):
    """An async context manager: entering does not wait for the bus, leaving ends what is under way."""

    @property
    def connected(self) -> bool:
        """Whether the bus takes records, and answers all who read from it."""
        ...

    @property
    def trouble(self) -> str:
        """Why it is not `connected`, as a sentence without a full stop; empty if it is."""
        ...

    async def publish(self, records: Sequence[Record]) -> None:
        """Returns when all are acknowledged.

        Raises Unavailable when they are not in time, TooLarge if one is larger than the bus takes. After either, or a
        cancellation, each of them may be there or not, and may still arrive.
        """
        ...

    def consume(
        self, topic: str, partitions: Sequence[int], *, from_end: bool = True, on_gap: OnGap | None = None
    ) -> Subscription:
        """Reads these partitions: from their ends as they are when the subscription is entered, or from their starts.

        Entering waits a little for the ends; if the bus is away it goes on without, and they are what they are when it
        is back. `on_gap(topic, partition)` is called when records were passed over, or may have been.
        """
        ...

    async def ensure_topics(self, topics: Sequence[Topic]) -> None:
        """Creates those that are not there; harmless on several nodes at once, and after a cancellation. Raises
        Unavailable.

        A topic that has fewer partitions than asked for gets more; nothing else of it is changed.
        """
        ...

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0: there is no such topic. Raises Unavailable."""
        ...
