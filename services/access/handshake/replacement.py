"""Ends the sessions that a newer session of their device has replaced, on whichever node they are.

Storage has decided which session is the newer one (services/storage/sessions/newest.py). The node of the newer session
carries that out when it welcomes it, and not before: a login that nobody waits for any more ends no session. A node
that does not answer, since it sleeps or a link is cut, is asked again every second for a while. Sessions that are left
then end when their node compares what it holds with what is stored (reconciliation.py).

Guarantees: no login waits for an eviction. A node that does not answer delays only its own lane. At most `WAITING_MAX`
evictions wait for each lane, and as many for their next try.

Does not know: which session replaced which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple

from protos.tidings.internal.v1 import access_pb2, logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.session.events import EndRequested
from services.access.session.session import Phase
from services.common.gatherer import RETRY_S
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes
from services.common.registry.contract import NodeIncarnation, NodeRecord
from services.common.rpc.contract import PeersPort
from services.common.telemetry import logs, metrics
from tidings_protocol.close import REPLACED
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import hash64

EVICT: Final = "/tidings.internal.v1.Access/Evict"
TRIES_MAX: Final = 30
LANES: Final = 4
WAITING_MAX: Final = 10_000
BATCH_MAX: Final = 500
TIMEOUT_MAX_S: Final = 1.0

log = logs.get_logger(__name__)


class PendingEviction(NamedTuple):
    """An eviction for a node, and how often it was tried."""

    node: str
    eviction: access_pb2.Eviction
    tries: int = 0


class SessionReplacement(LaneHolder):
    """Ends replaced sessions while it is entered; `run` makes the calls again that failed."""

    def __init__(
        self,
        peers: PeersPort,
        hub: Hub[Connection],
        *,
        me: Callable[[], NodeIncarnation],
        node: Callable[[str], NodeRecord | None],
        timeout_s: float,
    ) -> None:
        self._peers = peers
        self._hub = hub
        self._me = me
        self._node = node
        self._timeout_s = min(timeout_s, TIMEOUT_MAX_S)
        self._lanes: Lanes[PendingEviction, None] = Lanes(
            "evict", self._evict, lanes=LANES, capacity=WAITING_MAX, batch_max=BATCH_MAX
        )
        self._failed: list[PendingEviction] = []

    async def run(self) -> None:
        """Offers the evictions that failed to their lanes again, for ever."""
        while True:
            await asyncio.sleep(RETRY_S)
            failed, self._failed = self._failed, []
            for pending in failed:
                self._offer(pending)

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self._lanes,)

    def end(self, user: str, places: Iterable[logic_pb2.SessionPlace]) -> None:
        """Ends these sessions of the user: at once if they are here, else in a moment.

        Sessions are found by their node and not by its boot id: a node that came back with a new boot id serves the
        sessions of the old one until they have gone.
        """
        for place in places:
            if place.node == self._me().node:
                self._end_here(user, place.session)
            else:
                eviction = access_pb2.Eviction(
                    user=user, session=place.session, code=REPLACED.code, message=REPLACED.message
                )
                self._offer(PendingEviction(place.node, eviction))

    def _offer(self, pending: PendingEviction) -> None:
        try:
            self._lanes.offer(hash64(pending.node), pending)
        except TidingsError:
            log.warning("a replaced session is ended later", node=pending.node)

    def _end_here(self, user: str, session: str) -> None:
        for connection in self._hub.connections_of(user):
            if connection.session_id == session and connection.session.phase is not Phase.CLOSING:
                connection.handle(EndRequested(REPLACED))
                metrics.EVICTIONS.labels(REPLACED.label).inc()

    async def _evict(self, batch: Sequence[PendingEviction]) -> Sequence[None]:
        by_node: dict[str, list[PendingEviction]] = {}
        for pending in batch:
            by_node.setdefault(pending.node, []).append(pending)
        for name, evictions in by_node.items():
            await self._evict_at(name, evictions)
        return [None] * len(batch)

    async def _evict_at(self, name: str, pending: list[PendingEviction]) -> None:
        record = self._node(name)
        if record is None:
            return
        evictions = access_pb2.EvictBatch(evictions=[entry.eviction for entry in pending])
        try:
            outcome = await self._peers.call(
                EVICT, evictions, access_pb2.EvictOutcome, node=record, timeout_s=self._timeout_s
            )
        except TidingsError as error:
            log.warning("eviction failed", node=name, sessions=len(pending), code=error.code)
            again = [entry._replace(tries=entry.tries + 1) for entry in pending if entry.tries + 1 < TRIES_MAX]
            self._failed += again[: max(0, WAITING_MAX - len(self._failed))]
        else:
            metrics.EVICTIONS.labels(REPLACED.label).inc(outcome.evicted)
