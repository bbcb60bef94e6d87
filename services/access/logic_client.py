"""What this node asks of logic nodes: batches in, aligned outcomes out.

A batch is split by the logic node that owns each item's key, and the parts go out at once. The router repeats a part on
the next node if its owner does not answer, within a budget: all these calls may be repeated.

Guarantees: outcomes are aligned with the items, and a part that fails gives each of its items the error, if it is to be
tried again; any other error is that of the item it is of (dividing.py), and a size that only the call had is nobody's.
Items of one key stay in one part, in their order; a part of more bytes than a call carries is several calls, one after
the other. With `wanted`, nothing is tried again that nobody waits for any more.

Does not know: connections, frames.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import common_pb2, logic_pb2
from services.common.lanes.dividing import portions
from services.common.registry.contract import NodeRecord
from services.common.rpc.contract import Reply
from services.common.rpc.faults import from_fault
from services.common.rpc.spread import in_calls, spread
from tidings_protocol.errors import Internal, TidingsError, TooLarge
from tidings_protocol.ids import slot_of

Item = TypeVar("Item", bound=Message)
Outcome = TypeVar("Outcome")

SERVICE: Final = "/tidings.internal.v1.Logic/"
# A ping is answered with what is known last rather than late.
HEADS_TIMEOUT_S: Final = 1.0
HEADS_BUDGET_S: Final = 1.5


class RouterPort(Protocol):
    """What is needed of services.common.rpc.Router."""

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


class Logic:
    """The logic nodes."""

    def __init__(self, router: RouterPort, *, timeout_s: float, budget_s: float) -> None:
        self._router = router
        self._timeout_s = timeout_s
        self._budget_s = budget_s

    async def open(
        self, items: Sequence[logic_pb2.OpenItem], wanted: Callable[[logic_pb2.OpenItem], bool] | None = None
    ) -> Sequence[logic_pb2.OpenOutcome | TidingsError]:
        """Sessions begin. Key: the user."""

        async def call(slot: int, part: list[logic_pb2.OpenItem]) -> Sequence[logic_pb2.OpenOutcome]:
            batch = logic_pb2.OpenBatch(items=part)
            return (await self._call(slot, "Open", batch, logic_pb2.OpenOutcomes, _any_of(part, wanted))).outcomes

        return await self._spread("Open", items, [item.user for item in items], call)

    async def close(self, items: Sequence[logic_pb2.CloseItem]) -> Sequence[TidingsError | None]:
        """Sessions ended. Key: the user."""

        async def call(slot: int, part: list[logic_pb2.CloseItem]) -> Sequence[TidingsError | None]:
            answer = await self._call(slot, "End", logic_pb2.CloseBatch(items=part), logic_pb2.CloseOutcomes)
            if not answer.faults:
                return [None] * len(part)
            return [from_fault(fault) if fault.code else None for fault in answer.faults]

        return await self._spread("Close", items, [item.user for item in items], call)

    async def send(self, items: Sequence[logic_pb2.SendItem]) -> Sequence[logic_pb2.SendOutcome | TidingsError]:
        """Messages; those that are `pending` are to be asked about again. Key: the conversation."""

        async def call(slot: int, part: list[logic_pb2.SendItem]) -> Sequence[logic_pb2.SendOutcome]:
            batch = logic_pb2.SendBatch(items=part, holds=True)
            return (await self._call(slot, "Send", batch, logic_pb2.SendOutcomes)).outcomes

        return await self._spread("Send", items, [item.conversation for item in items], call)

    async def signal(self, items: Sequence[logic_pb2.SignalItem]) -> Sequence[logic_pb2.SignalOutcome | TidingsError]:
        """Signals. Key: the conversation."""

        async def call(slot: int, part: list[logic_pb2.SignalItem]) -> Sequence[logic_pb2.SignalOutcome]:
            batch = logic_pb2.SignalBatch(items=part)
            return (await self._call(slot, "Signal", batch, logic_pb2.SignalOutcomes)).outcomes

        return await self._spread("Signal", items, [item.conversation for item in items], call)

    async def acknowledge(self, items: Sequence[logic_pb2.AckItem]) -> Sequence[TidingsError | None]:
        """What devices hold. Key: the user."""

        async def call(slot: int, part: list[logic_pb2.AckItem]) -> Sequence[None]:
            await self._call(slot, "Acknowledge", logic_pb2.AckBatch(items=part), common_pb2.Empty)
            return [None] * len(part)

        return await self._spread("Acknowledge", items, [item.user for item in items], call)

    async def handle(
        self, items: Sequence[logic_pb2.HandleItem], wanted: Callable[[logic_pb2.HandleItem], bool] | None = None
    ) -> Sequence[logic_pb2.HandleOutcome | TidingsError]:
        """All other requests. Key: the user."""

        async def call(slot: int, part: list[logic_pb2.HandleItem]) -> Sequence[logic_pb2.HandleOutcome]:
            batch = logic_pb2.HandleBatch(items=part)
            return (await self._call(slot, "Handle", batch, logic_pb2.HandleOutcomes, _any_of(part, wanted))).outcomes

        return await self._spread("Handle", items, [item.user for item in items], call)

    async def heads(
        self, users: Sequence[str], conversations: Sequence[str], *, large_groups: bool = False
    ) -> logic_pb2.HeadsAnswer:
        """Inbox heads, and heads of conversations, aligned; if asked, the users' large groups. Any logic node can tell.
        Raises TidingsError.
        """
        try:
            return await self._heads(users, conversations, large_groups=large_groups)
        except TooLarge:
            # The answer, of users who are in many large groups: it is asked for by halves.
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
            raise Internal("a logic node answered for other heads than were asked for: are the versions the same?")
        return answer

    async def held(self, query: logic_pb2.HeldQuery) -> logic_pb2.HeldPage:
        """A page of the sessions that are stored under a boot id. Any logic node can tell. Raises TidingsError."""
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
    """A call is tried again while anybody of its part waits for it."""
    return None if wanted is None else lambda: any(wanted(item) for item in part)
