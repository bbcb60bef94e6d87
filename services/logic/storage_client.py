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
from typing import Any, TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import common_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.lanes.dividing import portions
from services.common.rpc.contract import SlotCaller
from services.common.rpc.faults import from_fault
from services.common.rpc.spread import in_calls, spread
from services.logic.storage_rows import RowsToStore, StoredRows, store_rows
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError

SERVICE = "/tidings.internal.v1.Storage/"
# So many pages at once, and so many bytes in them together, stay below what a call may carry.
PAGES_MAX = 128
PAGES_BYTES_MAX = 8 * 1024 * 1024

I = TypeVar("I")  # noqa: E741 - an item


class StorageClient:
    """Calls the owners of the items.

    Each method takes a batch and gives an outcome for each item, in their order. None raises for the sake of an item:
    its TidingsError stands in its place (Unavailable: whether it was done is not known; it may be repeated). After a
    cancellation any of the items may be done.

    `owner_of_slot` is the storage ring's, at the time of the call. `timeout_s`: the deadline of one try; `budget_s`:
    the time for all tries of one call; `batch_max`: the most items of one call.
    """

    def __init__(
        self,
        caller: SlotCaller,
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
        """Stores messages, in the items' order within a conversation; the outcomes have their seqs and inbox numbers.

        The status is STORED, DUPLICATE (the outcome is that of the first time), STALE (the version that the item rests
        on is old) or NO_SUCH_REPLY; an outcome that FAILED comes as its error.
        """
        outcomes = await self._spread(
            "Store", items, [item.conversation for item in items], pb.StoreBatch, pb.StoreOutcomes
        )
        return [_stored(outcome) for outcome in outcomes]

    async def store_rows(self, rows: RowsToStore) -> StoredRows:
        """Stores messages that come as columns, in their order within a conversation (storage_rows.py)."""

        async def ask(slot: int, columns: pb.StoreColumns) -> pb.StoredColumns:
            return await self._caller.call(
                slot,
                SERVICE + "StoreRows",
                columns,
                pb.StoredColumns,
                timeout_s=self._timeout_s,
                budget_s=self._budget_s,
            )

        return await store_rows(rows, self._owner_of_slot, ask, self._batch_max)

    async def change(self, item: pb.ChangeItem) -> pb.ChangeOutcome:
        """Makes one change of a group, all of it or nothing. The status is DONE or STALE; `made` is set for a repeat.

        Raises TidingsError for what FAILED. After a cancellation the change may be made.
        """
        [outcome] = await self._spread("Change", [item], [item.conversation], pb.ChangeBatch, pb.ChangeOutcomes)
        if isinstance(outcome, TidingsError):
            raise outcome
        changed: pb.ChangeOutcome = outcome
        if changed.status == pb.ChangeOutcome.FAILED:
            raise from_fault(changed.fault)
        return changed

    async def admit(self, items: Sequence[pb.AdmitItem]) -> list[pb.AdmitOutcome | TidingsError]:
        """Makes, drops and lists what lies beside groups' members: invites, requests to join, bans."""
        keys = [item.conversation for item in items]
        return _checked(await self._spread("Admit", items, keys, pb.AdmitBatch, pb.AdmitOutcomes))

    async def admit_one(self, item: pb.AdmitItem) -> pb.AdmitOutcome:
        """The same for one item; raises its TidingsError."""
        [outcome] = await self.admit([item])
        if isinstance(outcome, TidingsError):
            raise outcome
        return outcome

    async def load(self, items: Sequence[pb.LoadItem]) -> list[pb.LoadOutcome | TidingsError]:
        """The conversations as they are now, each with the members that its item asks for.

        A conversation that there is not has a record that does not exist. `unchanged`: the version is the one that the
        item knows, and the members were left out.
        """
        keys = [item.conversation for item in items]
        return _checked(await self._spread("Load", items, keys, pb.LoadBatch, pb.LoadOutcomes))

    async def mark(self, items: Sequence[pb.MarkItem]) -> list[pb.MarkOutcome | TidingsError]:
        """Moves readers' cursors on, never back and never beyond the head; says where they are and whether they moved.

        Forbidden for who is not in the conversation, NotFound for a group that there is not. A `durable` mark is in the
        database when it has an outcome.
        """
        keys = [item.conversation for item in items]
        return _checked(await self._spread("Mark", items, keys, pb.MarkBatch, pb.MarkOutcomes))

    async def stream_parts(
        self, items: Sequence[pb.PartItem], content_bytes_max: int
    ) -> list[pb.PartOutcome | TidingsError]:
        """Puts parts behind the texts of streams, in the items' order within a conversation.

        `content_bytes_max`: of a whole text. BadRequest with `next_part`: parts before this one are missing.
        """
        return _checked(
            await self._spread(
                "Parts",
                items,
                [item.conversation for item in items],
                lambda items: pb.PartBatch(items=items, content_bytes_max=content_bytes_max),
                pb.PartOutcomes,
            )
        )

    async def history(self, items: Sequence[pb.HistoryItem]) -> list[pb.PageOutcome | TidingsError]:
        """Pages of conversations: encoded messages in the order of their seq, about `bytes_max` bytes together.

        The items' `bytes_max` are lowered where many pages are asked for at once.
        """
        keys = [item.conversation for item in items]
        return _checked(await self._pages("History", items, keys, pb.HistoryBatch, pb.PageOutcomes))

    async def members(self, items: Sequence[pb.MembersItem]) -> list[pb.MembersOutcome | TidingsError]:
        """Pages of groups' members, in the order of their names; empty for a group that there is not."""
        keys = [item.conversation for item in items]
        return _checked(await self._spread("Members", items, keys, pb.MembersBatch, pb.MembersOutcomes))

    async def hide(self, items: Sequence[pb.HideItem]) -> list[pb.HideOutcome | TidingsError]:
        """Hides messages for users, for good; each outcome says what was taken. BadRequest: too many single ones."""
        keys = [item.conversation for item in items]
        return _checked(await self._spread("Hide", items, keys, pb.HideBatch, pb.HideOutcomes))

    async def react(self, items: Sequence[pb.StoreItem]) -> list[pb.StoreOutcome | TidingsError]:
        """Puts reactions into the sets of their messages, or takes them out, in the items' order for one message.

        The status is STORED, with the seq of the entry that tells of it if this item was the one to make it; DUPLICATE
        of an entry that was told before; STALE; or REFUSED, with the fault that says why.
        """
        keys = [item.conversation for item in items]
        outcomes = await self._spread("React", items, keys, pb.StoreBatch, pb.StoreOutcomes)
        return [_stored(outcome) for outcome in outcomes]

    async def reactors(self, items: Sequence[pb.ReactorsItem]) -> list[pb.ReactorsOutcome | TidingsError]:
        """Pages of those who have reacted to messages, the oldest reactions first."""
        keys = [item.conversation for item in items]
        spread = self._spread("Reactors", items, keys, pb.ReactorsBatch, pb.ReactorsOutcomes, batch_max=PAGES_MAX)
        return _checked(await spread)

    async def conversation_heads(self, conversations: Sequence[str]) -> list[int | TidingsError]:
        """The seq of the last message of each conversation; 0: there is none."""
        return await self._keyed("ConversationHeads", conversations, pb.HeadOutcomes, "heads")

    async def prefer(self, items: Sequence[pb.PreferItem]) -> list[pb.PreferOutcome | TidingsError]:
        """Sets preferences of conversations; says how they are now, nothing if the item gives nothing.

        Forbidden for who is not in the conversation, NotFound for a group that there is not.
        """
        keys = [item.prefer.conversation for item in items]
        return _checked(await self._spread("Prefer", items, keys, pb.PreferBatch, pb.PreferOutcomes))

    async def readers(self, items: Sequence[pb.ReadersItem]) -> list[pb.ReadersOutcome | TidingsError]:
        """Pages of who has read, or received, messages.

        Forbidden for who is not in the conversation, and in large groups; NotFound for what is not there.
        """
        keys = [item.conversation for item in items]
        return _checked(await self._spread("Readers", items, keys, pb.ReadersBatch, pb.ReadersOutcomes))

    # ---- by user

    async def open(
        self, items: Sequence[pb.SessionItem], live_boots: Collection[str]
    ) -> list[pb.SessionOpenOutcome | TidingsError]:
        """Stores sessions; each outcome says what the session replaced, or which newer one of its device stays.

        `live_boots`: the boots whose sessions count as connected. The heads that a welcome needs come along.
        """
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
        """Removes sessions; None: it is gone, or was before. An item with an error is to be closed again."""
        keys = [item.user for item in items]
        return await self._spread("Close", items, keys, pb.SessionCloseBatch, common_pb2.Empty, outcomes=None)

    async def sessions(self, users: Sequence[str]) -> list[pb.SessionsOutcome | TidingsError]:
        """Each user's stored sessions, and when the user was seen last (milliseconds since 1970)."""
        return await self._keyed("Sessions", users, pb.SessionsOutcomes, "outcomes")

    async def sessions_under(self, slot: int, query: pb.BootQuery) -> pb.BootPage:
        """A page of the sessions that are stored under a boot id, in the order of (user, device).

        `slot`: whose owner is asked; any node can tell. Raises TidingsError.
        """
        return await self._caller.call(
            slot,
            SERVICE + "SessionsUnder",
            query,
            pb.BootPage,
            timeout_s=self._timeout_s,
            budget_s=self._budget_s,
        )

    async def acknowledge(self, items: Sequence[pb.AcknowledgeItem]) -> list[pb.AcknowledgeOutcome | TidingsError]:
        """Moves devices' positions in the inboxes on; each outcome lists the conversations that got further.

        What the owner of the inbox owns itself is marked as delivered with it (`mark`); the rest is for the caller to
        mark. `upto`: the number up to which the outcome speaks.
        """
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
        """The number of the last entry of each user's inbox; 0: it is empty."""
        return await self._keyed("InboxHeads", users, pb.HeadOutcomes, "heads")

    async def inbox(self, items: Sequence[pb.InboxItem]) -> list[pb.PageOutcome | TidingsError]:
        """Pages of inboxes: numbered, encoded messages, about `bytes_max` bytes together.

        The items' `bytes_max` are lowered where many pages are asked for at once.
        """
        keys = [item.user for item in items]
        return _checked(await self._pages("Inbox", items, keys, pb.InboxBatch, pb.PageOutcomes))

    async def conversations(
        self, items: Sequence[pb.ConversationsItem]
    ) -> list[pb.ConversationsOutcome | TidingsError]:
        """Pages of users' conversation lists, the last active first, about `bytes_max` bytes together.

        The items' `bytes_max` are lowered where many pages are asked for at once.
        """
        keys = [item.user for item in items]
        return _checked(
            await self._pages("Conversations", items, keys, pb.ConversationsBatch, pb.ConversationsOutcomes)
        )

    async def users(self, users: Sequence[str]) -> list[pb.UserRecord | TidingsError]:
        """What storage knows of each user; `exists` is false for one that it does not know."""
        return await self._keyed("Users", users, pb.UsersOutcomes, "users")

    async def block(self, items: Sequence[pb.BlockItem]) -> list[pb.BlockOutcome | TidingsError]:
        """Makes or ends blocks. BadRequest if there are too many then."""
        keys = [item.user for item in items]
        return _checked(await self._spread("Block", items, keys, pb.BlockBatch, pb.BlockOutcomes))

    async def blocked(self, items: Sequence[pb.BlockedItem]) -> list[pb.BlockedOutcome | TidingsError]:
        """Since when users block others (milliseconds since 1970); 0: they do not."""
        keys = [item.user for item in items]
        return _checked(await self._spread("Blocked", items, keys, pb.BlockedBatch, pb.BlockedOutcomes))

    async def blocked_by(self, items: Sequence[pb.BlockListItem]) -> list[pb.BlockListOutcome | TidingsError]:
        """Pages of whom users block, by user id."""
        keys = [item.user for item in items]
        return _checked(await self._spread("BlockedBy", items, keys, pb.BlockListBatch, pb.BlockListOutcomes))

    async def profiles(self, users: Sequence[str]) -> list[client_pb2.Profile | TidingsError]:
        """Each user's profile; of one who has none, the user and version 0."""
        return await self._keyed("Profiles", users, pb.ProfilesOutcomes, "profiles")

    async def set_profiles(self, items: Sequence[pb.ProfileItem]) -> list[pb.ProfileOutcome | TidingsError]:
        """Sets profiles; each outcome has it as it is now. Conflict: another version is there than is expected."""
        keys = [item.profile.user for item in items]
        return _checked(await self._spread("SetProfile", items, keys, pb.ProfileBatch, pb.ProfileOutcomes))

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
        """Spreads like `_spread`; many pages at once are smaller ones."""
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
    """The items in runs that fit into calls. Keys are short: only their number counts."""
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
