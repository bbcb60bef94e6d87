"""Compares the sessions that are stored under this node's boot with those that it holds, once a minute.

What is told once may be lost: a login whose outcome nobody learned, a Close that came before its late Open, a record
that another one took the place of and left. So the two are compared, both ways, by time:

- stored, and not held here: closed. A session is stored only while its connection is held, so one that is not will
  never be; nothing has to be known of its age, or of clocks;
- held, and not stored, twice in a row: stored again. Ending it instead would send a client through a new login, and
  with it perhaps a newer session of the device away. It is stored only where no other live session of the device is;
  where one is for two rounds more, that one is the newer, and whoever should have ended this one could not: then it
  ends with 4501.

Guarantees: no session is online for longer than two rounds without a connection, and no connection is without a record
for longer than three, once logic answers. Bounded pages, bounded repairs.

Does not know: why.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from typing import Final

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.handshake.session_item import open_item
from services.access.logic_client import LogicClient
from services.access.session.events import EndRequested
from services.access.session.session import Phase
from services.common.registry.contract import NodeIncarnation
from services.common.telemetry import logs, metrics
from tidings_protocol.close import REPLACED
from tidings_protocol.errors import TidingsError

PAGE: Final = 1000
PAGE_PAUSE_S: Final = 0.02
REPAIRS_MAX: Final = 250
MISSED_TWICE: Final = 2
MISSED_FOR_GOOD: Final = 4

log = logs.get_logger(__name__)


class Reconciling:
    """`close` is told of a session that is nobody's."""

    def __init__(
        self,
        logic: LogicClient,
        connections: Collection[Connection],
        *,
        me: Callable[[], NodeIncarnation],
        close: Callable[[logic_pb2.CloseItem], None],
        interval_s: float,
    ) -> None:
        self._logic = logic
        self._connections = connections
        self._me = me
        self._close = close
        self._interval_s = interval_s
        self._missed: dict[str, int] = {}

    async def run(self) -> None:
        """Compares for ever, and not in the same second as all other nodes."""
        while True:
            await asyncio.sleep(self._interval_s * random.uniform(0.9, 1.1))
            try:
                await self.compare()
            except TidingsError as error:
                log.info("sessions are compared later", reason=error.message)

    async def compare(self) -> None:
        """Once. Raises TidingsError."""
        boot_id = self._me().boot_id
        open_before = self._open(boot_id)
        stored = await self._stored(boot_id)
        if self._me().boot_id != boot_id:
            return
        self._close_ghosts(stored)
        still = self._open(boot_id)
        self._missed = {
            session: self._missed.get(session, 0) + 1
            for session in open_before
            if session not in stored and session in still
        }
        missing = [still[session] for session, times in self._missed.items() if times >= MISSED_TWICE]
        if missing:
            await self._store_again(missing[:REPAIRS_MAX])

    def _open(self, boot_id: str) -> dict[str, Connection]:
        return {
            each.session_id: each
            for each in self._connections
            if each.session.phase is Phase.OPEN and each.identity.boot_id == boot_id
        }

    async def _stored(self, boot_id: str) -> dict[str, logic_pb2.HeldSession]:
        stored: dict[str, logic_pb2.HeldSession] = {}
        query = logic_pb2.HeldQuery(boot_id=boot_id, limit=PAGE)
        while True:
            page = await self._logic.held(query)
            stored.update((each.session, each) for each in page.sessions)
            if not page.more or not page.sessions:
                return stored
            query.after_user, query.after_device = page.sessions[-1].user, page.sessions[-1].device
            await asyncio.sleep(PAGE_PAUSE_S)

    def _close_ghosts(self, stored: dict[str, logic_pb2.HeldSession]) -> None:
        held = {each.session_id for each in self._connections}
        for session, each in stored.items():
            if session not in held:
                log.info("a session without a connection is closed", user=each.user, session=session)
                metrics.SESSIONS_RECONCILED.labels("closed").inc()
                self._close(logic_pb2.CloseItem(user=each.user, device=each.device, session=session))

    async def _store_again(self, connections: list[Connection]) -> None:
        node = self._me().node
        outcomes = await self._logic.open([open_item(each, node, again=True) for each in connections])
        for connection, outcome in zip(connections, outcomes, strict=True):
            if isinstance(outcome, TidingsError) or outcome.HasField("fault"):
                continue  # the next round tries it again
            if outcome.newer:
                self._is_replaced(connection)
                continue
            log.info("a session whose record was gone is stored again", session=connection.session_id)
            metrics.SESSIONS_RECONCILED.labels("stored").inc()
            self._missed.pop(connection.session_id, None)
            if connection.session.phase is not Phase.OPEN:
                connection.node.closer.close_session(connection)

    def _is_replaced(self, connection: Connection) -> None:
        if self._missed[connection.session_id] >= MISSED_FOR_GOOD:
            metrics.SESSIONS_RECONCILED.labels("ended").inc()
            connection.handle(EndRequested(REPLACED))
