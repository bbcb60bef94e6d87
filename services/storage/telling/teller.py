"""Tells logic nodes of entries that storage made by itself, so that these tell the recipients.

    tell ──▶ one lane ──▶ a call for each owner, by the ring of the logic nodes ──▶ Logic.Tell

Guarantees: those of the port. Entries of one conversation are told in their order. At most `capacity` wait; what has no
room, or what no logic node takes within the budget, is lost, and counted.
Does not know: who the recipients are connected to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from protos.tidings.internal.v1 import common_pb2, logic_pb2
from services.common.lanes.dividing import portions
from services.common.lanes.lane import Lanes
from services.common.rpc.contract import SlotCaller
from services.common.rpc.spread import in_calls, spread
from services.common.scope import Owned
from services.common.telemetry import logs, metrics
from tidings_protocol.errors import TidingsError

TellItem = logic_pb2.TellItem

METHOD: Final = "/tidings.internal.v1.Logic/Tell"
CAPACITY: Final = 4000
BATCH_MAX: Final = 500
_LANE: Final = 0

log = logs.get_logger(__name__)


class LogicTeller(Owned):
    """An async context manager: leaving it tells what waits."""

    def __init__(
        self,
        caller: SlotCaller,
        owner_of_slot: Callable[[int], str | None],
        *,
        timeout_s: float,
        budget_s: float,
        capacity: int = CAPACITY,
    ) -> None:
        """`owner_of_slot`: of the logic ring, at the time of the call; `timeout_s`: of one try; `budget_s`: of all."""
        self._caller = caller
        self._owner_of_slot = owner_of_slot
        self._timeout_s = timeout_s
        self._budget_s = budget_s
        self._lanes: Lanes[TellItem, None] = Lanes(
            "tell", self._handle, lanes=1, capacity=capacity, batch_max=min(BATCH_MAX, capacity)
        )

    async def _running(self) -> AsyncIterator[None]:
        async with self._lanes:
            yield

    def tell(self, items: Sequence[TellItem]) -> None:
        """Hands these on."""
        for item in items:
            try:
                self._lanes.offer(_LANE, item)
            except TidingsError:
                metrics.TELLS.labels("lost").inc()

    async def _handle(self, batch: list[TellItem]) -> Sequence[TidingsError | None]:
        outcomes = await spread(batch, [item.conversation for item in batch], self._owner_of_slot, self._ask)
        lost = [outcome for outcome in outcomes if isinstance(outcome, TidingsError)]
        if lost:
            log.warning("entries could not be told", count=len(lost), reason=lost[0].message)
        metrics.TELLS.labels("told").inc(len(outcomes) - len(lost))
        metrics.TELLS.labels("lost").inc(len(lost))
        return outcomes

    async def _ask(self, _: str | None, slot: int, part: list[TellItem]) -> Sequence[TidingsError | None]:
        async def call(items: list[TellItem]) -> Sequence[None]:
            batch = logic_pb2.TellBatch(items=items)
            await self._caller.call(
                slot, METHOD, batch, common_pb2.Empty, timeout_s=self._timeout_s, budget_s=self._budget_s
            )
            return [None] * len(items)

        return await in_calls(call, portions(part, BATCH_MAX), "Tell")
