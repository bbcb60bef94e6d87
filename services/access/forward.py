"""Sending parcels to other access nodes through their mailboxes: to visitors' nodes, and once more to a new owner.

Guarantees: one record for each target and batch, in the order in which batches came; what cannot be published in time,
or waits behind too much, is dropped and counted: the clients find the gap at their next heartbeat.

Does not know: who is to get what (parcels.py decides).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from protos.tidings.internal.v1 import delivery_pb2
from services.access.parcels import Sorted
from services.access.visitors import Host
from services.common.bus.contract import Bus, Record
from services.common.errors import TidingsError
from services.common.lane import Lanes
from services.common.registry.contract import NodeRecord
from services.common.telemetry import metrics

WAITING_MAX = 2000
BATCH_MAX = 64


class Forwarding:
    """Publishes while it is entered."""

    def __init__(self, bus: Bus, *, topic: str, node: Callable[[str], NodeRecord | None]) -> None:
        self._bus = bus
        self._topic = topic
        self._node = node
        self._lanes: Lanes[list[Record], None] = Lanes(
            "forward", self._publish, lanes=1, capacity=WAITING_MAX, batch_max=BATCH_MAX
        )

    async def __aenter__(self) -> Self:
        await self._lanes.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._lanes.__aexit__(kind, error, traceback)

    @property
    def depth(self) -> int:
        return self._lanes.depth

    def send(self, batch: Sorted) -> None:
        """What of this batch goes to other nodes."""
        records: list[Record] = []
        recipients = 0
        for host, parcels in batch.onward.items():
            self._address(host, parcels, records)
        for (owner, _), parcels in batch.rerouted.items():
            recipients += sum(len(push.users) for parcel in parcels for push in parcel.pushes)
            self._address(owner, parcels, records)
        if batch.lost:
            metrics.REROUTED.labels("gave_up").inc(batch.lost)
        if not records:
            return

        def done(outcome: TidingsError | None) -> None:
            if recipients:
                metrics.REROUTED.labels("lost" if isinstance(outcome, TidingsError) else "sent").inc(recipients)

        try:
            self._lanes.offer(0, records, done)
        except TidingsError as error:
            done(error)

    def _address(self, host: Host, parcels: Sequence[delivery_pb2.Parcel], records: list[Record]) -> None:
        record = self._node(host.node)
        if record is None or record.boot_id != host.boot_id or record.mailbox is None:
            return
        mailbox = record.mailbox
        records.extend(Record(self._topic, parcel.SerializeToString(), partition=mailbox) for parcel in parcels)

    async def _publish(self, batches: list[list[Record]]) -> Sequence[TidingsError | None]:
        await self._bus.publish([record for batch in batches for record in batch])
        return [None] * len(batches)
