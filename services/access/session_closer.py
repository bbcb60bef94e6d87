"""What follows when a session ends: it leaves this node's indexes at once, and logic is told until it knows.

What ends gathers for a moment, since each batch is a call, a write and news for all access nodes, whatever is in it.

Guarantees: every session that was stored is closed with logic, also when logic is away for a while (what is not closed
is told again until logic answers or the process ends), and holds up no other one then. At most `CAPACITY` wait, and as
many to be told again; what is one too many is found later (cluster/reconciliation.py).

Does not know: why a session ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connection.identity import STRANGER
from services.access.logic_client import LogicClient
from services.access.placement.visit_calls import VisitCalls
from services.access.presence.watching import Watching
from services.common.gatherer import RETRY_S
from services.common.lanes.lane import Lanes
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs
from tidings_protocol.errors import TidingsError

BATCH: Final = 1000
CAPACITY: Final = 400_000
GATHER_S: Final = 0.1

log = logs.get_logger(__name__)


class SessionCloser(Owned):
    """Closes while it is entered; leaving tells logic once more of those that wait."""

    def __init__(self, logic: LogicClient, hub: Hub[Connection], watching: Watching, visit_calls: VisitCalls) -> None:
        self._logic = logic
        self._hub = hub
        self._watching = watching
        self._visit_calls = visit_calls
        self._failed: list[logic_pb2.CloseItem] = []
        self._lanes: Lanes[logic_pb2.CloseItem, None] = Lanes(
            "close", self._close, lanes=1, capacity=CAPACITY, batch_max=BATCH, gather_s=GATHER_S
        )

    async def _running(self) -> AsyncIterator[None]:
        async with self._lanes:
            async with TaskScope() as scope:
                scope.spawn(self._tell_again(), name="close again")
                yield
            self._offer_failed()

    @property
    def lanes(self) -> Lanes[logic_pb2.CloseItem, None]:
        """The lanes, for /debug/state."""
        return self._lanes

    def unregister(self, connection: Connection) -> None:
        """Takes a connection out of this node's indexes; its user's owner is told in a moment if it was the last."""
        if connection.identity is STRANGER:
            return  # its hello was still being checked
        self._watching.forget(connection)
        if self._hub.remove(connection.user, connection):
            self._visit_calls.left(connection.user)

    def close_session(self, connection: Connection) -> None:
        """The session of this connection was stored, and is over."""
        identity = connection.identity
        self.close(logic_pb2.CloseItem(user=identity.user, device=identity.device, session=identity.session_id))

    def close(self, item: logic_pb2.CloseItem) -> None:
        """A stored session is over, whoever held it."""
        try:
            self._lanes.offer(0, item)
        except TidingsError as error:
            log.warning("a session could not be closed", session=item.session, error=str(error))

    async def _close(self, items: list[logic_pb2.CloseItem]) -> Sequence[TidingsError | None]:
        outcomes = await self._logic.close(items)
        failed = [
            item
            for item, outcome in zip(items, outcomes, strict=True)
            if isinstance(outcome, TidingsError) and outcome.retryable
        ]
        # Until logic has taken each: one that is not closed looks online until it is found (reconciliation.py).
        self._failed += failed[: max(0, CAPACITY - len(self._failed))]
        return [None] * len(items)

    async def _tell_again(self) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            self._offer_failed()

    def _offer_failed(self) -> None:
        failed, self._failed = self._failed, []
        for item in failed:
            self.close(item)
