"""Acknowledgements: the numbers up to which devices hold their inboxes, gathered and handed to logic in batches.

Guarantees: the last number of a connection reaches logic, also if the connection ended right after, or if the node
leaves during the call. A batch that failed is sent again with what has come since. Each connection has one entry,
however often it acknowledges.

Does not know: receipts (logic makes them).
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.logic_client import LogicClient
from services.common.clock import Clock
from services.common.scope import TaskScope
from tidings_protocol.errors import TidingsError

BATCH_MAX: Final = 2000
RETRY_S: Final = 1.0
# Beyond this many entries the oldest are given up: their devices acknowledge a higher number soon.
WAITING_MAX: Final = 100_000


class Acks:
    """Hands acknowledgements to logic every `flush_s` while it is entered; leaving hands over what is left."""

    def __init__(self, logic: LogicClient, clock: Clock, *, flush_s: float) -> None:
        self._logic = logic
        self._clock = clock
        self._flush_s = flush_s
        self._waiting: dict[Connection, None] = {}
        self._scope = TaskScope()
        self._some = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._scope.spawn(self._run(), name="acks")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._scope.__aexit__(kind, error, traceback)
        if kind is None:
            await self._flush()

    def on_ack(self, connection: Connection, number: int) -> None:
        """Notes that the connection's device holds everything up to this number."""
        if connection.delivery.acknowledge(number, self._clock.now_s()):
            if len(self._waiting) >= WAITING_MAX:
                self._waiting.pop(next(iter(self._waiting)))
            self._waiting[connection] = None
            self._some.set()

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(self._flush_s)
            self._some.clear()
            if not await self._flush():
                await asyncio.sleep(RETRY_S)

    async def _flush(self) -> bool:
        done = True
        taken, self._waiting = list(self._waiting), {}
        count = 0  # handed over
        try:
            while count < len(taken):
                batch = taken[count : count + BATCH_MAX]
                outcomes = await self._logic.acknowledge([_item(connection) for connection in batch])
                count += len(batch)
                for connection, outcome in zip(batch, outcomes, strict=True):
                    if isinstance(outcome, TidingsError) and outcome.retryable:
                        done = False
                        self._put_back(connection)
        finally:
            # Also those of a call that was cancelled: leaving hands them over once more.
            for connection in taken[count:]:
                self._put_back(connection)
        return done

    def _put_back(self, connection: Connection) -> None:
        self._waiting.setdefault(connection)
        self._some.set()


def _item(connection: Connection) -> logic_pb2.AckItem:
    return logic_pb2.AckItem(
        user=connection.user,
        device=connection.identity.device,
        session=connection.session_id,
        number=connection.delivery.acked,
    )
