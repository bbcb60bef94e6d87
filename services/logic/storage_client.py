"""The storage nodes as logic sees them: batches in, outcomes aligned with them out.

Each method spreads its items over the owners by the storage ring, one call for each owner (or several in a row, if
there are more items, or more bytes, than one call takes), the owners at the same time.

Guarantees: as many outcomes as items, in their order; an item whose owner could not be reached, or that was refused,
has its error in its place, so one bad owner does not spoil the others, nor one bad item those that it was asked with
(dividing.py). The items of one key keep their order.

Does not know: what the items mean; retries (the caller goes on to the next node, since every call may be repeated).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import common_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.lanes.dividing import portions
from services.common.rpc.faults import from_fault
from services.common.rpc.spread import in_calls, spread
from tidings_protocol.errors import TidingsError

SERVICE = "/tidings.internal.v1.Storage/"
# So many pages at once, and so many bytes in them together, stay below what a call may carry.
PAGES_MAX = 128
PAGES_BYTES_MAX = 8 * 1024 * 1024

I = TypeVar("I")  # noqa: E741 - an item
M = TypeVar("M", bound=Message)


class Caller(Protocol):
    """Calls the owner of a slot, and the nodes that follow it while the budget lasts (services.common.rpc.Router)."""

    async def call(
        self, slot: int, method: str, request: Message, reply_type: type[M], *, timeout_s: float, budget_s: float
    ) -> M: ...


class StorageClient:
    """`owner_of_slot` is the storage ring's, at the time of the call."""

    def __init__(
        self,
        caller: Caller,
        owner_of_slot: Callable[[int], str | None],
        *,
        timeout_s: float,
        budget_s: float,
        batch_max: int,
    ) -> None:
        self._caller = caller
        self._owner_of_slot = owner_of_slot
        self._timeout_s = timeout_s
        self._budget_s = budget_s
        self._batch_max = batch_max

    # ---- by conversation

    async def store(self, items: Sequence[pb.StoreItem]) -> list[pb.StoreOutcome | TidingsError]:
        """An outcome that FAILED comes as its error."""
        outcomes = await self._spread(
            "Store", items, [item.conversation for item in items], pb.StoreBatch, pb.StoreOutcomes
        )
        return [_stored(outcome) for outcome in outcomes]

    async def change(self, item: pb.ChangeItem) -> pb.ChangeOutcome:
        """DONE or STALE; raises what FAILED."""
        [outcome] = await self._spread("Change", [item], [item.conversation], pb.ChangeBatch, pb.ChangeOutcomes)
        if isinstance(outcome, TidingsError):
            raise outcome
        changed: pb.ChangeOutcome = outcome
        if changed.status == pb.ChangeOutcome.FAILED:
            raise from_fault(changed.fault)
        return changed

    async def load(self, items: Sequence[pb.LoadItem]) -> list[pb.LoadOutcome | TidingsError]:
        keys = [item.conversation for item in items]
        return _checked(await self._spread("Load", items, keys, pb.LoadBatch, pb.LoadOutcomes))

    async def mark(self, items: Sequence[pb.MarkItem]) -> list[pb.MarkOutcome | TidingsError]:
        keys = [item.conversation for item in items]
        return _checked(await self._spread("Mark", items, keys, pb.MarkBatch, pb.MarkOutcomes))

    async def history(self, items: Sequence[pb.HistoryItem]) -> list[pb.PageOutcome | TidingsError]:
        keys = [item.conversation for item in items]
        return _checked(await self._pages("History", items, keys, pb.HistoryBatch, pb.PageOutcomes))

    async def members(self, items: Sequence[pb.MembersItem]) -> list[pb.MembersOutcome | TidingsError]:
        keys = [item.conversation for item in items]
        return _checked(await self._spread("Members", items, keys, pb.MembersBatch, pb.MembersOutcomes))

    async def conversation_heads(self, conversations: Sequence[str]) -> list[int | TidingsError]:
        return await self._keyed("ConversationHeads", conversations, pb.HeadOutcomes, "heads")

    # ---- by user

    async def open(
        self, items: Sequence[pb.SessionItem], live_boots: Collection[str]
    ) -> list[pb.SessionOpenOutcome | TidingsError]:
        return _checked(
            await self._spread(
                "Open",
                items,
                [item.record.user for item in items],
                lambda items: pb.SessionBatch(items=items, live_boots=live_boots),
                pb.SessionOpenOutcomes,
            )
        )

    async def close(self, items: Sequence[pb.SessionCloseItem]) -> list[TidingsError | None]:
        keys = [item.user for item in items]
        return await self._spread("Close", items, keys, pb.SessionCloseBatch, common_pb2.Empty, outcomes=None)

    async def sessions(self, users: Sequence[str]) -> list[pb.SessionsOutcome | TidingsError]:
        return await self._keyed("Sessions", users, pb.SessionsOutcomes, "outcomes")

    async def sessions_under(self, slot: int, query: pb.BootQuery) -> pb.BootPage:
        """A page of those that are stored under a boot id; any node can tell. Raises TidingsError."""
        return await self._caller.call(
            slot,
            SERVICE + "SessionsUnder",
            query,
            pb.BootPage,
            timeout_s=self._timeout_s,
            budget_s=self._budget_s,
        )

    async def acknowledge(self, items: Sequence[pb.AcknowledgeItem]) -> list[pb.AcknowledgeOutcome | TidingsError]:
        """What the same node owns is marked as delivered with it."""
        return _checked(
            await self._spread(
                "Acknowledge",
                items,
                [item.user for item in items],
                lambda items: pb.AcknowledgeBatch(items=items, mark=True),
                pb.AcknowledgeOutcomes,
            )
        )

    async def inbox_heads(self, users: Sequence[str]) -> list[int | TidingsError]:
        return await self._keyed("InboxHeads", users, pb.HeadOutcomes, "heads")

    async def inbox(self, items: Sequence[pb.InboxItem]) -> list[pb.PageOutcome | TidingsError]:
        keys = [item.user for item in items]
        return _checked(await self._pages("Inbox", items, keys, pb.InboxBatch, pb.PageOutcomes))

    async def conversations(
        self, items: Sequence[pb.ConversationsItem]
    ) -> list[pb.ConversationsOutcome | TidingsError]:
        keys = [item.user for item in items]
        return _checked(
            await self._pages("Conversations", items, keys, pb.ConversationsBatch, pb.ConversationsOutcomes)
        )

    async def users(self, users: Sequence[str]) -> list[pb.UserRecord | TidingsError]:
        return await self._keyed("Users", users, pb.UsersOutcomes, "users")

    # ---- how

    async def _keyed(self, method: str, keys: Sequence[str], response: type[Message], field: str) -> list[Any]:
        return await self._spread(method, keys, keys, lambda keys: pb.KeyBatch(keys=keys), response, outcomes=field)

    async def _pages(
        self,
        method: str,
        items: Sequence[Any],
        keys: Sequence[str],
        request: Callable[..., Message],
        response: type[Message],
    ) -> list[Any]:
        """Many pages at once are smaller ones."""
        share = PAGES_BYTES_MAX // max(1, min(len(items), PAGES_MAX))
        for item in items:
            item.bytes_max = min(item.bytes_max, share)
        return await self._spread(method, items, keys, request, response, batch_max=PAGES_MAX)

    async def _spread(
        self,
        method: str,
        items: Sequence[I],
        keys: Sequence[str],
        request: Callable[..., Message],
        response: type[Message],
        *,
        outcomes: str | None = "outcomes",
        batch_max: int = 0,
    ) -> list[Any]:
        """One call for each owner. `request` makes the batch of items, `outcomes` names the field of the answer's list.

        Typed by its callers: every method above pairs its items with the outcomes of its answer.
        """
        step = min(batch_max or self._batch_max, self._batch_max)

        async def ask(_: str | None, slot: int, part: list[I]) -> Sequence[Any]:
            async def call(run: list[I]) -> Sequence[Any]:
                return await self._call(method, slot, _batch(request, run), response, outcomes, len(run))

            return await in_calls(call, _portions(part, step), method)

        return list(await spread(items, keys, self._owner_of_slot, ask))

    async def _call(
        self, method: str, slot: int, batch: Message, response: type[Message], outcomes: str | None, count: int
    ) -> Sequence[Any]:
        answer = await self._caller.call(
            slot, SERVICE + method, batch, response, timeout_s=self._timeout_s, budget_s=self._budget_s
        )
        if outcomes is None:
            return [None] * count
        listed: Sequence[Any] = getattr(answer, outcomes)
        return listed


def _portions(items: list[Any], count_max: int) -> list[list[Any]]:
    """Keys are short: only their number counts."""
    if isinstance(items[0], str):
        return [items[start : start + count_max] for start in range(0, len(items), count_max)]
    return portions(items, count_max)


def _batch(request: Callable[..., Message], items: list[Any]) -> Message:
    """`request` is a batch's class (its field is `items`), or a function of the items."""
    return request(items=items) if isinstance(request, type) else request(items)


def _checked(outcomes: list[Any]) -> list[Any]:
    """An outcome that carries a fault is that error."""
    return [
        from_fault(outcome.fault) if not isinstance(outcome, TidingsError) and outcome.HasField("fault") else outcome
        for outcome in outcomes
    ]


def _stored(outcome: pb.StoreOutcome | TidingsError) -> pb.StoreOutcome | TidingsError:
    if not isinstance(outcome, TidingsError) and outcome.status == pb.StoreOutcome.FAILED:
        return from_fault(outcome.fault)
    return outcome
