"""What follows when a session ends: it leaves this node's indexes at once, and logic is told until it knows.

Guarantees: every session that was stored is closed with logic, also when logic is away for a while (the calls are
repeated until it answers or the process ends). At most `CAPACITY` wait; what is one too many is found later
(cluster/reconciliation.py).

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
from services.access.presence.notifier import PresenceNotifier
from services.common.gatherer import RETRY_S
from services.common.lanes.lane import Lanes
from services.common.scope import Owned
from services.common.telemetry import logs
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import hash64

LANES: Final = 2
BATCH: Final = 1000
CAPACITY: Final = 200_000

log = logs.get_logger(__name__)


class SessionCloser(Owned):
    """Closes while it is entered; leaving tells logic once more of those that wait."""

    def __init__(
        self, logic: LogicClient, hub: Hub[Connection], presence: PresenceNotifier, visit_calls: VisitCalls
    ) -> None:
        self._logic = logic
        self._hub = hub
        self._presence = presence
        self._visit_calls = visit_calls
        self._ended = False
        self._lanes: Lanes[logic_pb2.CloseItem, None] = Lanes(
            "close", self._close, lanes=LANES, capacity=CAPACITY, batch_max=BATCH
        )

    async def _running(self) -> AsyncIterator[None]:
        async with self._lanes:
            try:
                yield
            finally:
                self._ended = True

    @property
    def lanes(self) -> Lanes[logic_pb2.CloseItem, None]:
        """The lanes, for /debug/state."""
        return self._lanes

    def unregister(self, connection: Connection) -> None:
        """Takes a connection out of this node's indexes; its user's owner is told in a moment if it was the last."""
        if connection.identity is STRANGER:
            return  # its hello was still being checked
        self._presence.watchers.forget(connection)
        if self._hub.remove(connection.user, connection):
            self._visit_calls.left(connection.user)

    def close_session(self, connection: Connection) -> None:
        """The session of this connection was stored, and is over."""
        identity = connection.identity
        self.close(logic_pb2.CloseItem(user=identity.user, device=identity.device, session=identity.session_id))

    def close(self, item: logic_pb2.CloseItem) -> None:
        """A stored session is over, whoever held it."""
        try:
            self._lanes.offer(hash64(item.user), item)
        except TidingsError as error:
            log.warning("a session could not be closed", session=item.session, error=str(error))

    async def _close(self, items: list[logic_pb2.CloseItem]) -> Sequence[TidingsError | None]:
        """Until logic has taken each: one that is not closed looks online until it is found (reconciliation.py)."""
        waiting = items
        while True:
            outcomes = await self._logic.close(waiting)
            waiting = [
                item
                for item, outcome in zip(waiting, outcomes, strict=True)
                if isinstance(outcome, TidingsError) and outcome.retryable
            ]
            if not waiting or self._ended:
                return [None] * len(items)
            await asyncio.sleep(RETRY_S)
