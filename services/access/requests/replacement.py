"""Ends the sessions that a newer one of their device has replaced, wherever they are.

Which one is the newer, storage has decided (services/storage/sessions/newest.py). It is carried out by the node of
the newer one, when it welcomes it and not before: a login that nobody waits for any more ends nobody. A node that does
not answer, since it sleeps or a link is cut, is asked again every second for a while; what is left then ends when that
node compares what it holds with what is stored (reconciliation.py).

Guarantees: no login waits for it; a node that does not answer delays only its own lane; bounded.

Does not know: how it came about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from protos.tidings.internal.v1 import access_pb2, logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.events import Ended
from services.access.connection.hub import Hub
from services.access.connection.session import Phase
from services.access.placement.registrations import Host
from services.common.gatherer import RETRY_S
from services.common.lanes.lane import Lanes
from services.common.registry.contract import NodeRecord
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


class Replaced(NamedTuple):
    """What a node is to be told, and how often it was tried."""

    node: str
    eviction: access_pb2.Eviction
    tries: int = 0


class Replacing:
    """Use it as an async context manager."""

    def __init__(
        self,
        peers: PeersPort,
        hub: Hub[Connection],
        *,
        me: Callable[[], Host],
        node: Callable[[str], NodeRecord | None],
        timeout_s: float,
    ) -> None:
        self._peers = peers
        self._hub = hub
        self._me = me
        self._node = node
        self._timeout_s = min(timeout_s, TIMEOUT_MAX_S)
        self._lanes: Lanes[Replaced, None] = Lanes(
            "evict", self._evict, lanes=LANES, capacity=WAITING_MAX, batch_max=BATCH_MAX
        )
        self._failed: list[Replaced] = []

    async def __aenter__(self) -> Self:
        await self._lanes.__aenter__()
        return self

    async def run(self) -> None:
        """Tries again what failed, for ever."""
        while True:
            await asyncio.sleep(RETRY_S)
            failed, self._failed = self._failed, []
            for each in failed:
                self._offer(each)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._lanes.__aexit__(kind, error, traceback)

    def end(self, user: str, places: Iterable[logic_pb2.SessionPlace]) -> None:
        """These sessions of the user: at once if they are here, else in a moment. By node and not by boot: a node that
        came back as a new boot serves the sessions of the old one until they have gone."""
        for place in places:
            if place.node == self._me().node:
                self._end_here(user, place.session)
            else:
                eviction = access_pb2.Eviction(
                    user=user, session=place.session, code=REPLACED.code, message=REPLACED.message
                )
                self._offer(Replaced(place.node, eviction))

    def _offer(self, replaced: Replaced) -> None:
        try:
            self._lanes.offer(hash64(replaced.node), replaced)
        except TidingsError:
            log.warning("a replaced session is ended later", node=replaced.node)

    def _end_here(self, user: str, session: str) -> None:
        for connection in self._hub.of(user):
            if connection.session_id == session and connection.session.phase is not Phase.CLOSING:
                connection.handle(Ended(REPLACED))
                metrics.EVICTIONS.labels(REPLACED.label).inc()

    async def _evict(self, batch: Sequence[Replaced]) -> Sequence[None]:
        by_node: dict[str, list[Replaced]] = {}
        for each in batch:
            by_node.setdefault(each.node, []).append(each)
        for name, replaced in by_node.items():
            await self._evict_at(name, replaced)
        return [None] * len(batch)

    async def _evict_at(self, name: str, replaced: list[Replaced]) -> None:
        record = self._node(name)
        if record is None:
            return
        evictions = access_pb2.EvictBatch(evictions=[each.eviction for each in replaced])
        try:
            outcome = await self._peers.call(
                EVICT, evictions, access_pb2.EvictOutcome, node=record, timeout_s=self._timeout_s
            )
        except TidingsError as error:
            log.warning("eviction failed", node=name, sessions=len(replaced), code=error.code)
            again = [each._replace(tries=each.tries + 1) for each in replaced if each.tries + 1 < TRIES_MAX]
            self._failed += again[: max(0, WAITING_MAX - len(self._failed))]
        else:
            metrics.EVICTIONS.labels(REPLACED.label).inc(outcome.evicted)
