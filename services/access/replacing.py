"""Ends the sessions that a newer one of their device has replaced, wherever they are.

Which one is the newer, storage has decided (services/storage/newest.py). It is carried out by the node of the newer
one, when it welcomes it and not before: a login that nobody waits for any more ends nobody. A node that does not
answer is asked once more; what is left then ends when that node compares what it holds with what is stored
(reconciling.py).

Guarantees: no login waits for it; a node that does not answer delays only its own lane; bounded.

Does not know: how it came about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from protos.tidings.internal.v1 import access_pb2, logic_pb2
from services.access.connection import Connection
from services.access.events import Ended
from services.access.hub import Hub
from services.access.session import Phase
from services.access.visitors import Host
from services.common.errors import TidingsError
from services.common.ids import hash64
from services.common.lane import Lanes
from services.common.registry.contract import NodeRecord
from services.common.rpc.contract import PeersPort
from services.common.telemetry import logs, metrics
from services.common.wire.close import REPLACED

EVICT: Final = "/tidings.internal.v1.Access/Evict"
TRIES: Final = 2
LANES: Final = 4
WAITING_MAX: Final = 10_000
BATCH_MAX: Final = 500
TIMEOUT_MAX_S: Final = 1.0

log = logs.get_logger(__name__)

Replaced = tuple[str, access_pb2.Eviction]  # node, what it is told


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

    async def __aenter__(self) -> Self:
        await self._lanes.__aenter__()
        return self

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
                try:
                    self._lanes.offer(hash64(place.node), (place.node, eviction), _done)
                except TidingsError:
                    log.warning("a replaced session is ended later", node=place.node)

    def _end_here(self, user: str, session: str) -> None:
        for connection in self._hub.of(user):
            if connection.session_id == session and connection.session.phase is not Phase.CLOSING:
                connection.handle(Ended(REPLACED))
                metrics.EVICTIONS.labels(REPLACED.label).inc()

    async def _evict(self, batch: Sequence[Replaced]) -> Sequence[None]:
        by_node: dict[str, access_pb2.EvictBatch] = {}
        for name, eviction in batch:
            by_node.setdefault(name, access_pb2.EvictBatch()).evictions.append(eviction)
        for name, evictions in by_node.items():
            await self._evict_at(name, evictions)
        return [None] * len(batch)

    async def _evict_at(self, name: str, evictions: access_pb2.EvictBatch) -> None:
        for _ in range(TRIES):
            record = self._node(name)
            if record is None:
                return
            try:
                outcome = await self._peers.call(
                    EVICT, evictions, access_pb2.EvictOutcome, node=record, timeout_s=self._timeout_s
                )
            except TidingsError as error:
                log.warning("eviction failed", node=name, sessions=len(evictions.evictions), code=error.code)
            else:
                metrics.EVICTIONS.labels(REPLACED.label).inc(outcome.evicted)
                return


def _done(_: TidingsError | None) -> None:
    """Nobody waits for it."""
