"""The client of the logic nodes: it takes batches and gives outcomes that are aligned with their items.

A batch is split by the logic node that owns each item's key, and the parts go out at once. The router repeats a part on
the next node if its owner does not answer, within a budget: all these calls may be repeated.

Guarantees: outcomes are aligned with the items. An error that says "try again" is given to each item of the part that
failed; any other error is given to the item that caused it (dividing.py), and no item gets an error for the size of its
call. Items of one key stay in one part, in their order; a part of more bytes than a call carries is several calls, one
after the other. With `wanted`, a part is not tried again once no item in it is wanted.

Does not know: connections, frames.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import common_pb2, logic_pb2
from services.access.send_rows import Outcome as SendOutcome
from services.access.send_rows import SendRow, columns_of, outcomes_of, size_of
from services.common.lanes.dividing import portions
from services.common.registry.contract import NodeRecord
from services.common.rpc.contract import Reply
from services.common.rpc.faults import from_fault
from services.common.rpc.spread import in_calls, spread, spread_by_slot
from tidings_protocol.errors import Internal, TidingsError, TooLarge
from tidings_protocol.ids import slot_of

Item = TypeVar("Item", bound=Message)
Row = TypeVar("Row", bound=SendRow)
Outcome = TypeVar("Outcome")

SERVICE: Final = "/tidings.internal.v1.Logic/"
# A ping is answered with what is known last rather than late.
HEADS_TIMEOUT_S: Final = 1.0
HEADS_BUDGET_S: Final = 1.5


class RouterPort(Protocol):
    """What the client needs of services.common.rpc.Router."""

    def owner(self, slot: int) -> NodeRecord | None: ...

    async def call(
        self,
        slot: int,
        method: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout_s: float,
        budget_s: float,
        wanted: Callable[[], bool] | None = None,
    ) -> Reply: ...


class LogicClient:
    """Calls logic nodes; each try takes at most `timeout_s`, and all tries of a part at most `budget_s`.

    The methods that take items give a list of the same length: for each item its outcome, or the TidingsError that it
    failed with. They raise nothing but the cancellation. A call that was cancelled may have been carried out: whoever
    asks again repeats it without harm, as long as the items carry the same ids.
    """

    def __init__(self, router: RouterPort, *, timeout_s: float, budget_s: float) -> None:
        self._router = router
        self._timeout_s = timeout_s
        self._budget_s = budget_s

    async def open(
        self, items: Sequence[logic_pb2.OpenItem], wanted: Callable[[logic_pb2.OpenItem], bool] | None = None
    ) -> Sequence[logic_pb2.OpenOutcome | TidingsError]:
        """Stores sessions; an item that `wanted` refuses is not tried again. Split by the user."""

        async def call(slot: int, part: list[logic_pb2.OpenItem]) -> Sequence[logic_pb2.OpenOutcome]:
            batch = logic_pb2.OpenBatch(items=part)
            return (await self._call(slot, "Open", batch, logic_pb2.OpenOutcomes, _any_of(part, wanted))).outcomes

        return await self._spread("Open", items, [item.user for item in items], call)

    async def close(self, items: Sequence[logic_pb2.CloseItem]) -> Sequence[TidingsError | None]:
        """Ends stored sessions; None for each that is ended. Split by the user."""

        async def call(slot: int, part: list[logic_pb2.CloseItem]) -> Sequence[TidingsError | None]:
            answer = await self._call(slot, "End", logic_pb2.CloseBatch(items=part), logic_pb2.CloseOutcomes)
            if not answer.faults:
                return [None] * len(part)
            return [from_fault(fault) if fault.code else None for fault in answer.faults]

        return await self._spread("Close", items, [item.user for item in items], call)

    async def send(self, items: Sequence[logic_pb2.SendItem]) -> Sequence[logic_pb2.SendOutcome | TidingsError]:
        """Sends messages that logic had not decided; `pending`: it still has not. Split by the conversation."""

        async def call(slot: int, part: list[logic_pb2.SendItem]) -> Sequence[logic_pb2.SendOutcome]:
            batch = logic_pb2.SendBatch(items=part, holds=True)
            return (await self._call(slot, "Send", batch, logic_pb2.SendOutcomes)).outcomes

        return await self._spread("Send", items, [item.conversation for item in items], call)

    async def send_rows(self, rows: Sequence[Row]) -> Sequence[SendOutcome]:
        """Sends messages, as columns; one whose outcome is None is to be sent again, by `send`. Split by the slot."""

        async def call(slot: int, part: list[Row]) -> Sequence[SendOutcome]:
            return outcomes_of(await self._call(slot, "SendRows", columns_of(part), logic_pb2.SentColumns))

        async def ask(_: str, slot: int, part: list[Row]) -> Sequence[SendOutcome]:
            return await in_calls(partial(call, slot), portions(part, len(part), size_of=size_of), "SendRows")

        return await spread_by_slot(rows, [row.slot for row in rows], self._owner_of, ask)

    async def signal(self, items: Sequence[logic_pb2.SignalItem]) -> Sequence[logic_pb2.SignalOutcome | TidingsError]:
        """Sends signals. Split by the conversation."""

        async def call(slot: int, part: list[logic_pb2.SignalItem]) -> Sequence[logic_pb2.SignalOutcome]:
            batch = logic_pb2.SignalBatch(items=part)
            return (await self._call(slot, "Signal", batch, logic_pb2.SignalOutcomes)).outcomes

        return await self._spread("Signal", items, [item.conversation for item in items], call)

    async def stream_parts(
        self, items: Sequence[logic_pb2.StreamPartItem]
    ) -> Sequence[logic_pb2.StreamPartOutcome | TidingsError]:
        """Hands parts of streams on. Split by the conversation."""

        async def call(slot: int, part: list[logic_pb2.StreamPartItem]) -> Sequence[logic_pb2.StreamPartOutcome]:
            batch = logic_pb2.StreamPartBatch(items=part)
            return (await self._call(slot, "StreamParts", batch, logic_pb2.StreamPartOutcomes)).outcomes

        return await self._spread("StreamParts", items, [item.conversation for item in items], call)

    async def acknowledge(self, items: Sequence[logic_pb2.AckItem]) -> Sequence[TidingsError | None]:
        """Notes up to which inbox number devices hold everything; None for each that is noted. Split by the user."""

        async def call(slot: int, part: list[logic_pb2.AckItem]) -> Sequence[None]:
            await self._call(slot, "Acknowledge", logic_pb2.AckBatch(items=part), common_pb2.Empty)
            return [None] * len(part)

        return await self._spread("Acknowledge", items, [item.user for item in items], call)

    async def handle(
        self, items: Sequence[logic_pb2.HandleItem], wanted: Callable[[logic_pb2.HandleItem], bool] | None = None
    ) -> Sequence[logic_pb2.HandleOutcome | TidingsError]:
        """Has the other requests handled; an outcome holds the encoded answer. Split by the user.

        An item that `wanted` refuses is not tried again.
        """

        async def call(slot: int, part: list[logic_pb2.HandleItem]) -> Sequence[logic_pb2.HandleOutcome]:
            batch = logic_pb2.HandleBatch(items=part)
            return (await self._call(slot, "Handle", batch, logic_pb2.HandleOutcomes, _any_of(part, wanted))).outcomes

        return await self._spread("Handle", items, [item.user for item in items], call)

    async def heads(
        self, users: Sequence[str], conversations: Sequence[str], *, large_groups: bool = False
    ) -> logic_pb2.HeadsAnswer:
        """Gives the inbox heads of users and the heads of conversations, aligned with them, from any logic node.

        With `large_groups`, also the heads of the users' large groups, aligned with the users. At least one user or
        conversation is needed. Each try takes at most `HEADS_TIMEOUT_S`. Raises TidingsError.
        """
        try:
            return await self._heads(users, conversations, large_groups=large_groups)
        except TooLarge:
            # The answer is too large, since the users are in many large groups: it is asked for by halves.
            if len(users) <= 1:
                raise Internal(
                    "the heads of one user's groups are larger than what nodes can tell each other"
                ) from None
        half = len(users) // 2
        answer = await self.heads(users[:half], conversations, large_groups=large_groups)
        answer.MergeFrom(await self.heads(users[half:], (), large_groups=large_groups))
        return answer

    async def _heads(
        self, users: Sequence[str], conversations: Sequence[str], *, large_groups: bool
    ) -> logic_pb2.HeadsAnswer:
        slot = slot_of((users or conversations)[0])
        query = logic_pb2.HeadsQuery(users=users, conversations=conversations, large_groups=large_groups)
        answer = await self._router.call(
            slot,
            SERVICE + "Heads",
            query,
            logic_pb2.HeadsAnswer,
            timeout_s=min(HEADS_TIMEOUT_S, self._timeout_s),
            budget_s=min(HEADS_BUDGET_S, self._budget_s),
        )
        if len(answer.users) != len(users) or len(answer.conversations) != len(conversations):
            raise Internal("a logic node answered for other heads than were asked for: run nodes of one version")
        return answer

    async def held(self, query: logic_pb2.HeldQuery) -> logic_pb2.HeldPage:
        """Gives a page of the sessions that are stored under a boot id, from any logic node. Raises TidingsError."""
        return await self._call(slot_of(query.boot_id), "Held", query, logic_pb2.HeldPage)

    async def _call(
        self,
        slot: int,
        method: str,
        request: Message,
        reply_type: type[Reply],
        wanted: Callable[[], bool] | None = None,
    ) -> Reply:
        return await self._router.call(
            slot,
            SERVICE + method,
            request,
            reply_type,
            timeout_s=self._timeout_s,
            budget_s=self._budget_s,
            wanted=wanted,
        )

    async def _spread(
        self,
        method: str,
        items: Sequence[Item],
        keys: Sequence[str],
        call: Callable[[int, list[Item]], Awaitable[Sequence[Outcome]]],
    ) -> Sequence[Outcome | TidingsError]:
        async def ask(_: str, slot: int, part: list[Item]) -> Sequence[Outcome | TidingsError]:
            return await in_calls(partial(call, slot), portions(part, len(part)), method)

        return await spread(items, keys, self._owner_of, ask)

    def _owner_of(self, slot: int) -> str:
        owner = self._router.owner(slot)
        return owner.name if owner is not None else ""


def _any_of(part: list[Item], wanted: Callable[[Item], bool] | None) -> Callable[[], bool] | None:
    """Whether a part is worth another try: while any item in it is wanted."""
    return None if wanted is None else lambda: any(wanted(item) for item in part)
