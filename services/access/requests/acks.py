"""Acknowledgements: what each device holds, gathered for a moment and handed to logic in one batch.

Guarantees: the last number of a connection reaches logic, also if it ended right after, or if the node leaves while it
is being told; a batch that failed is sent again with what has come since. One entry a connection, however often it
acknowledges.

Does not know: receipts (logic makes them).
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.logic_client import Logic
from services.common.clock import Clock
from services.common.gatherer import Gatherer
from services.common.scope import TaskScope
from tidings_protocol.errors import TidingsError

BATCH_MAX: Final = 2000
# Beyond this many the oldest are given up: their devices acknowledge a higher number soon.
WAITING_MAX: Final = 100_000


class Acks:
    """Flushes while it is entered; leaving flushes what is left."""

    def __init__(self, logic: Logic, clock: Clock, *, flush_s: float) -> None:
        self._logic = logic
        self._clock = clock
        self._waiting: dict[Connection, None] = {}
        self._scope = TaskScope()
        self._gatherer = Gatherer(self._flush, gather_s=flush_s)

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._scope.spawn(self._gatherer.run(), name="acks")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._scope.__aexit__(kind, error, traceback)
        if kind is None:
            await self._flush()

    @property
    def depth(self) -> int:
        return len(self._waiting)

    def take(self, connection: Connection, number: int) -> None:
        """The device holds everything up to this number."""
        if connection.session.outbox.acknowledge(number, self._clock.now_s()):
            if len(self._waiting) >= WAITING_MAX:
                self._waiting.pop(next(iter(self._waiting)))
            self._waiting[connection] = None
            self._gatherer.note()

    async def _flush(self) -> bool:
        done = True
        taken, self._waiting = list(self._waiting), {}
        told = 0
        try:
            while told < len(taken):
                batch = taken[told : told + BATCH_MAX]
                outcomes = await self._logic.acknowledge([_item(connection) for connection in batch])
                told += len(batch)
                for connection, outcome in zip(batch, outcomes, strict=True):
                    if isinstance(outcome, TidingsError) and outcome.retryable:
                        done = False
                        self._put_back(connection)
        finally:
            # Those that were being told when this was cancelled, too: leaving tells them once more.
            for connection in taken[told:]:
                self._put_back(connection)
        return done

    def _put_back(self, connection: Connection) -> None:
        self._waiting.setdefault(connection)
        self._gatherer.note()


def _item(connection: Connection) -> logic_pb2.AckItem:
    return logic_pb2.AckItem(
        user=connection.user,
        device=connection.device,
        session=connection.session_id,
        number=connection.session.outbox.acked,
    )
