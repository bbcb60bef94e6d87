"""The delivery of parcels, as they come encoded: to the connections here, and on to other nodes.

A parcel of the mailbox is routed first (mail_router.py): some of its pushes go to visitors' nodes and new owners. One
of the broadcast is for the connections here alone, since every access node gets it.

Guarantees: parcels are worked on in the order in which they are given, and are written to the connections when a call
returns. One that cannot be read is dropped with a line in the log.

Does not know: Kafka, where parcels come from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from google.protobuf.message import DecodeError

from protos.tidings.internal.v1 import delivery_pb2
from services.access.delivery.delivery import Delivery
from services.access.delivery.forwarder import Forwarder
from services.access.delivery.mail_router import MailRouter
from services.common.telemetry import logs

log = logs.get_logger(__name__)


class ParcelDelivery:
    """Delivers for one node; `router` gives the router for its present boot."""

    def __init__(self, delivery: Delivery, forwarder: Forwarder, router: Callable[[], MailRouter]) -> None:
        self._delivery = delivery
        self._forwarder = forwarder
        self._router = router

    async def deliver_mail(self, values: Iterable[bytes]) -> None:
        """Delivers parcels of a mailbox."""
        await self._deliver_mail(_read(values))

    async def deliver_broadcast(self, values: Iterable[bytes]) -> None:
        """Delivers parcels of the broadcast."""
        await self._deliver_broadcast(_read(values))

    async def deliver_mixed(self, values: Iterable[bytes]) -> None:
        """Delivers parcels of both kinds: those of a mailbox name a node."""
        for is_mail, parcels in groupby(_read(values), key=lambda parcel: bool(parcel.node)):
            await (self._deliver_mail if is_mail else self._deliver_broadcast)(list(parcels))

    async def _deliver_mail(self, parcels: Sequence[delivery_pb2.Parcel]) -> None:
        run = self._router().split(parcels)
        for _ in run.steps():
            await asyncio.sleep(0)
        batch = run.result()
        self._forwarder.send(batch)
        await self._delivery.deliver(batch.local)

    async def _deliver_broadcast(self, parcels: Sequence[delivery_pb2.Parcel]) -> None:
        await self._delivery.deliver(push for parcel in parcels for push in parcel.pushes)


def _read(values: Iterable[bytes]) -> list[delivery_pb2.Parcel]:
    parcels = []
    for value in values:
        try:
            parcels.append(delivery_pb2.Parcel.FromString(value))
        except DecodeError:
            log.error("record dropped: it is no parcel", size=len(value))  # noqa: TRY400 - the stack says nothing
    return parcels
