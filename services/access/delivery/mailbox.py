"""The mailbox of this node: reads it and the broadcast topic, and takes what comes by call while Kafka is away.

Guarantees: a mailbox is read from its end as it is when `attach` is called, before the node becomes ready. Its records
are worked on in their order, and the next batch is read when the last one is written to the connections. Where Kafka
has lost records, the users' heads are compared (`on_gap`). A node that does not hear Kafka says so (`on_hearing`), so
that other nodes call it, and compares heads too. Parcels that come by call are worked on in the order in which they
came, and the call is answered when they are written; at most `CALLS_MAX` calls wait. A parcel that came by call may
come through Kafka too, before or after: clients know by the numbers.

Does not know: what a parcel holds, and whom it is for (parcel_delivery.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from services.access.delivery.parcel_delivery import ParcelDelivery
from services.common.bus.contract import Bus, Subscription
from services.common.bus.topics import TopicNames
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics
from tidings_protocol.errors import Overloaded

LAG_S: Final = 1.0
# Kafka answers a fetch twice a second when it has nothing.
DEAF_S: Final = 2.0
CALLS_MAX: Final = 256

log = logs.get_logger(__name__)


class Mailbox(Owned):
    """Reads the broadcast topic while it is entered, and a mailbox from the first `attach` on."""

    def __init__(
        self,
        bus: Bus,
        topics: TopicNames,
        parcels: ParcelDelivery,
        *,
        on_gap: Callable[[], None],
        on_hearing: Callable[[bool], Awaitable[None]],
    ) -> None:
        """`on_hearing` gets, after each change, whether this node is deaf."""
        self._bus = bus
        self._topics = topics
        self._parcels = parcels
        self._on_gap = on_gap
        self._on_hearing = on_hearing
        self._deaf = False
        self._scope = TaskScope()
        self._mail: Subscription | None = None
        self._broadcast: Subscription | None = None
        self._reader: asyncio.Task[None] | None = None
        self._partition: int | None = None
        self._calls = 0
        self._calls_in_order = asyncio.Lock()

    async def _running(self) -> AsyncIterator[None]:
        partitions = range(self._topics.broadcast_partitions)
        broadcast = self._bus.consume(self._topics.broadcast, partitions, on_gap=self._gap)
        async with self._scope, broadcast:
            self._broadcast = broadcast
            self._scope.spawn(self._read_broadcast(broadcast), name="broadcast")
            self._scope.spawn(self._watch_lag(), name="mailbox lag")
            yield

    @property
    def state(self) -> dict[str, object]:
        """What /debug/state shows of the mailbox."""
        return {
            "deaf": self._deaf,
            "mailbox": self._partition,
            "positions": dict(self._mail.positions) if self._mail else {},
            "lag": self._mail.lag if self._mail else 0,
            "broadcast_lag": self._broadcast.lag if self._broadcast else 0,
        }

    async def attach(self, partition: int) -> None:
        """Reads this partition from now on; returns when it is known where its end is (or Kafka is away)."""
        if self._partition == partition:
            return
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        self._partition = partition
        mail = self._bus.consume(self._topics.deliver, [partition], on_gap=self._gap)
        entered = asyncio.get_running_loop().create_future()
        self._reader = self._scope.spawn(self._read_mail(mail, entered), name=f"mailbox {partition}")
        await entered

    async def take(self, values: Sequence[bytes]) -> None:
        """Works on encoded parcels, of the mailbox (they name this node) or of the broadcast.

        Returns when they are written to the connections. Raises Overloaded.
        """
        if self._calls >= CALLS_MAX:
            raise Overloaded("this access node has too many deliveries to make: they come by Kafka, or by sync")
        self._calls += 1
        try:
            async with self._calls_in_order:
                await self._parcels.deliver_mixed(values)
        finally:
            self._calls -= 1

    async def _read_mail(self, mail: Subscription, entered: asyncio.Future[None]) -> None:
        async with mail:
            self._mail = mail
            if not entered.done():
                entered.set_result(None)
            async for records in mail:
                await self._parcels.deliver_mail(record.value for record in records)

    async def _read_broadcast(self, broadcast: Subscription) -> None:
        async for records in broadcast:
            await self._parcels.deliver_broadcast(record.value for record in records)

    async def _watch_lag(self) -> None:
        while True:
            await asyncio.sleep(LAG_S)
            metrics.BUS_LAG.labels(self._topics.deliver).set(self._mail.lag if self._mail else 0)
            metrics.BUS_LAG.labels(self._topics.broadcast).set(self._broadcast.lag if self._broadcast else 0)
            if self._partition is not None:
                await self._watch_hearing()

    async def _watch_hearing(self) -> None:
        sources = (self._mail, self._broadcast)
        deaf = any(source is not None and source.quiet_s > DEAF_S for source in sources)
        if deaf != self._deaf:
            self._deaf = deaf
            log.info("kafka is not heard: others call" if deaf else "kafka is heard again")
            await self._on_hearing(deaf)
            if deaf:
                # Records from before the others knew are still in Kafka: clients find them by the heads.
                self._on_gap()

    def _gap(self, topic: str, partition: int) -> None:
        log.warning("records were lost before they were read: heads are compared", topic=topic, partition=partition)
        self._on_gap()
