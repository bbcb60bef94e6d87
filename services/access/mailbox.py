"""Reading this node's mailbox and the broadcast topic.

Guarantees: a mailbox is read from its end as it is when `attach` is called, before the node becomes ready; its records
are worked on in their order, and the next batch is read when the last one is written to the connections. A record that
cannot be read is dropped with a line in the log. Where Kafka has lost records, the users' heads are compared
(`on_gap`).

Does not know: what a push means (delivery.py), whom it is for (parcels.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, Self

from google.protobuf.message import DecodeError

from protos.tidings.internal.v1 import delivery_pb2
from services.access.delivery import Delivery
from services.access.forward import Forwarding
from services.access.parcels import Sorter
from services.common.bus.contract import Bus, ConsumedRecord, Subscription
from services.common.scope import TaskScope
from services.common.telemetry import logs, metrics

LAG_S: Final = 1.0

log = logs.get_logger(__name__)


class Mailbox:
    """Reads while it is entered, from the first `attach` on."""

    def __init__(
        self,
        bus: Bus,
        delivery: Delivery,
        forwarding: Forwarding,
        *,
        mailbox_topic: str,
        broadcast_topic: str,
        broadcast_partitions: int,
        sorter: Callable[[], Sorter],
        on_gap: Callable[[], None],
    ) -> None:
        self._bus = bus
        self._delivery = delivery
        self._forwarding = forwarding
        self._mailbox_topic = mailbox_topic
        self._broadcast_topic = broadcast_topic
        self._broadcast_partitions = broadcast_partitions
        self._sorter = sorter
        self._on_gap = on_gap
        self._scope = TaskScope()
        self._stack = AsyncExitStack()
        self._mail: Subscription | None = None
        self._broadcast: Subscription | None = None
        self._reader: asyncio.Task[None] | None = None
        self._partition: int | None = None

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._scope)
        partitions = range(self._broadcast_partitions)
        broadcast = self._bus.consume(self._broadcast_topic, partitions, on_gap=self._gap)
        self._broadcast = await self._stack.enter_async_context(broadcast)
        self._scope.spawn(self._read_broadcast(self._broadcast), name="broadcast")
        self._scope.spawn(self._watch_lag(), name="mailbox lag")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.__aexit__(*error)  # type: ignore[arg-type]  # the three of __aexit__

    @property
    def state(self) -> dict[str, object]:
        """For /debug/state."""
        return {
            "mailbox": self._partition,
            "positions": dict(self._mail.positions) if self._mail else {},
            "lag": self._mail.lag if self._mail else 0,
            "broadcast_lag": self._broadcast.lag if self._broadcast else 0,
        }

    async def attach(self, partition: int) -> None:
        """From now on this one; returns when it is known where its end is (or Kafka is away)."""
        if self._partition == partition:
            return
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        self._partition = partition
        mail = self._bus.consume(self._mailbox_topic, [partition], on_gap=self._gap)
        entered = asyncio.get_running_loop().create_future()
        self._reader = self._scope.spawn(self._read_mail(mail, entered), name=f"mailbox {partition}")
        await entered

    async def _read_mail(self, mail: Subscription, entered: asyncio.Future[None]) -> None:
        async with mail:
            self._mail = mail
            if not entered.done():
                entered.set_result(None)
            async for records in mail:
                batch = await self._sorter().sort(_parcels(records))
                self._forwarding.send(batch)
                await self._delivery.deliver(batch.local)

    async def _read_broadcast(self, broadcast: Subscription) -> None:
        async for records in broadcast:
            await self._delivery.deliver(push for parcel in _parcels(records) for push in parcel.pushes)

    async def _watch_lag(self) -> None:
        while True:
            await asyncio.sleep(LAG_S)
            metrics.BUS_LAG.labels(self._mailbox_topic).set(self._mail.lag if self._mail else 0)
            metrics.BUS_LAG.labels(self._broadcast_topic).set(self._broadcast.lag if self._broadcast else 0)

    def _gap(self, topic: str, partition: int) -> None:
        log.warning("records were lost before they were read: heads are compared", topic=topic, partition=partition)
        self._on_gap()


def _parcels(records: Sequence[ConsumedRecord]) -> list[delivery_pb2.Parcel]:
    parcels = []
    for record in records:
        try:
            parcels.append(delivery_pb2.Parcel.FromString(record.value))
        except DecodeError:
            log.error("record dropped: it is no parcel", topic=record.topic, offset=record.offset)  # noqa: TRY400
    return parcels
