"""Parcels straight to access nodes by call, for as long as Kafka does not carry them.

    offer ──▶ lane of the node ──▶ Access.Deliver, one call at a time for each node ──▶ done(whether it was taken)

Guarantees: what is offered for one node goes to it in that order. Best effort: bounded in number and bytes, a short
deadline, one try; `done` is called once for each, and says no if that boot of the node is gone, does not answer or is
not asked because too much waits. What was taken may have been taken although the answer is no.

Does not know: Kafka, what is in a parcel, what becomes of those that were not taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple

from protos.tidings.internal.v1 import access_pb2
from services.common.lanes.lane import Lanes
from services.common.registry.contract import NodeRecord
from services.common.rpc.contract import PeersPort
from services.common.scope import Owned
from services.common.telemetry import metrics
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import hash64

DELIVER: Final = "/tidings.internal.v1.Access/Deliver"
LANES: Final = 16
WAITING_MAX: Final = 2000
BATCH_MAX: Final = 64
CALL_BYTES: Final = 1024 * 1024
# Receivers wait for it, and a node that hangs holds up those that share its lane.
CALL_S: Final = 1.0


class Errand(NamedTuple):
    """An encoded parcel for one boot of an access node."""

    node: str
    boot_id: str
    parcel: bytes


class ParcelCalls(Owned):
    """Calls while it is entered."""

    def __init__(
        self, peers: PeersPort, node: Callable[[str], NodeRecord | None], *, waiting_bytes_max: int = 16 * 1024 * 1024
    ) -> None:
        self._peers = peers
        self._node = node
        self._waiting_bytes_max = waiting_bytes_max
        self._waiting_bytes = 0
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._lanes: Lanes[Errand, None] = Lanes(
            "direct", self._handle, lanes=LANES, capacity=WAITING_MAX, batch_max=BATCH_MAX
        )

    async def _running(self) -> AsyncIterator[None]:
        async with self._lanes:
            yield

    @property
    def under_way(self) -> int:
        """What was offered and has no outcome yet."""
        return self._under_way

    async def quiet(self, timeout_s: float) -> None:
        """Returns when nothing is under way, or when the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._quiet.wait()
        except TimeoutError:
            return

    def offer(self, errand: Errand, done: Callable[[bool], None] | None = None) -> None:
        """`done` gets whether the node took the parcel, perhaps from within this call. None: nobody wants to know."""
        size = len(errand.parcel)
        if self._waiting_bytes + size > self._waiting_bytes_max:
            metrics.PARCELS_BY_CALL.labels("full").inc()
            if done is not None:
                done(False)
            return

        def finish(outcome: TidingsError | None) -> None:
            self._waiting_bytes -= size
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()
            metrics.PARCELS_BY_CALL.labels("failed" if outcome else "sent").inc()
            if done is not None:
                done(outcome is None)

        self._waiting_bytes += size
        self._under_way += 1
        self._quiet.clear()
        try:
            self._lanes.offer(hash64(errand.node), errand, finish)
        except TidingsError as error:
            finish(error)

    async def _handle(self, errands: list[Errand]) -> Sequence[TidingsError | None]:
        outcomes: list[TidingsError | None] = [None] * len(errands)
        by_node: dict[tuple[str, str], list[int]] = {}
        for place, errand in enumerate(errands):
            by_node.setdefault((errand.node, errand.boot_id), []).append(place)

        async def go(node: str, boot_id: str, places: list[int]) -> None:
            for part in _parts(places, errands):
                error = await self._call(node, boot_id, [errands[place].parcel for place in part])
                if error is not None:
                    # Nothing goes past what was not taken.
                    for place in places[places.index(part[0]) :]:
                        outcomes[place] = error
                    return

        await asyncio.gather(*(go(*key, places) for key, places in by_node.items()))
        return outcomes

    async def _call(self, node: str, boot_id: str, parcels: list[bytes]) -> TidingsError | None:
        record = self._node(node)
        if record is None or record.boot_id != boot_id:
            return Unavailable(f"{node} is gone, or another boot of it is there")
        batch = access_pb2.DeliverBatch(parcels=parcels)
        try:
            await self._peers.call(DELIVER, batch, access_pb2.DeliverOutcome, node=record, timeout_s=CALL_S)
        except TidingsError as error:
            return error
        return None


def _parts(places: list[int], errands: list[Errand]) -> list[list[int]]:
    """Parts of as many parcels as fit into one call; one that is larger is a part of its own."""
    parts: list[list[int]] = []
    size = 0
    for place in places:
        size += len(errands[place].parcel)
        if not parts or size > CALL_BYTES:
            parts.append([])
            size = len(errands[place].parcel)
        parts[-1].append(place)
    return parts
