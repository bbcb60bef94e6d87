"""The storage service on the wire: each method is one batch in, one batch out.

Guarantees: outcomes are aligned with the items; an item that fails, or in whose handling there is a defect, has its
fault, and the others have their outcomes (dividing.py). Methods whose answer has no room for a fault raise it for the
whole batch, and the caller finds out by halves whose it is. So does a batch of which nothing could be
done because the database is out of reach: the caller then asks the next node, which may reach it.
Does not know: what is stored; each method calls the part of the node that does the work.
"""

# ruff: noqa: N802  # the methods have the names of the service

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc

from protos.tidings.internal.v1 import common_pb2, storage_pb2, storage_pb2_grpc
from services.common.lanes.dividing import divided
from services.common.node import node_service
from services.common.rpc import Service
from services.common.rpc.faults import from_fault, to_fault
from services.storage.inboxes.numbering import Append
from services.storage.messages.store_call import StoreCall
from services.storage.node import Storage
from tidings_protocol.errors import TidingsError, Unavailable


class ItemOutcome(Protocol):
    """The outcome of one item; one that is refused has a fault."""

    @property
    def fault(self) -> common_pb2.Fault: ...


O = TypeVar("O", bound=ItemOutcome)  # noqa: E741 - an outcome

Context = grpc.aio.ServicerContext[Any, Any]


class StorageServicer(storage_pb2_grpc.StorageServicer):
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def Store(self, request: storage_pb2.StoreBatch, _: Context) -> storage_pb2.StoreOutcomes:
        outcomes = await divided(self._storage.conversations.store, list(request.items), "Store")
        failed = partial(storage_pb2.StoreOutcome, status=storage_pb2.StoreOutcome.FAILED)
        return storage_pb2.StoreOutcomes(outcomes=_with_faults(outcomes, failed))

    async def StoreRows(self, request: storage_pb2.StoreColumns, _: Context) -> storage_pb2.StoredColumns:
        call = StoreCall(request)
        failure = await self._storage.conversations.store_rows(call)
        if failure is not None:
            raise failure
        _raise_if_away(list(call.unusual.values()) if len(call.unusual) == len(call) else ())
        return call.answer()

    async def Change(self, request: storage_pb2.ChangeBatch, _: Context) -> storage_pb2.ChangeOutcomes:
        outcomes = await divided(self._storage.conversations.change, list(request.items), "Change")
        failed = partial(storage_pb2.ChangeOutcome, status=storage_pb2.ChangeOutcome.FAILED)
        return storage_pb2.ChangeOutcomes(outcomes=_with_faults(outcomes, failed))

    async def Load(self, request: storage_pb2.LoadBatch, _: Context) -> storage_pb2.LoadOutcomes:
        outcomes = await divided(self._storage.loads.load, list(request.items), "Load")
        return storage_pb2.LoadOutcomes(outcomes=_with_faults(outcomes, storage_pb2.LoadOutcome))

    async def Mark(self, request: storage_pb2.MarkBatch, _: Context) -> storage_pb2.MarkOutcomes:
        outcomes = await divided(self._storage.cursors.mark, list(request.items), "Mark")
        return storage_pb2.MarkOutcomes(outcomes=_with_faults(outcomes, storage_pb2.MarkOutcome))

    async def History(self, request: storage_pb2.HistoryBatch, _: Context) -> storage_pb2.PageOutcomes:
        outcomes = await divided(self._storage.pages.history, list(request.items), "History")
        return storage_pb2.PageOutcomes(outcomes=_with_faults(outcomes, storage_pb2.PageOutcome))

    async def Members(self, request: storage_pb2.MembersBatch, _: Context) -> storage_pb2.MembersOutcomes:
        outcomes = await divided(self._storage.pages.members, list(request.items), "Members")
        return storage_pb2.MembersOutcomes(outcomes=_with_faults(outcomes, storage_pb2.MembersOutcome))

    async def ConversationHeads(self, request: storage_pb2.KeyBatch, _: Context) -> storage_pb2.HeadOutcomes:
        return await self._storage.pages.conversation_heads(request.keys, warm_only=request.warm_only)

    async def Hide(self, request: storage_pb2.HideBatch, _: Context) -> storage_pb2.HideOutcomes:
        outcomes = await divided(self._storage.hides.hide, list(request.items), "Hide")
        return storage_pb2.HideOutcomes(outcomes=_with_faults(outcomes, storage_pb2.HideOutcome))

    async def Parts(self, request: storage_pb2.PartBatch, _: Context) -> storage_pb2.PartOutcomes:
        take = partial(self._storage.parts.take, content_bytes_max=request.content_bytes_max)
        outcomes = await divided(take, list(request.items), "Parts")
        return storage_pb2.PartOutcomes(outcomes=_with_faults(outcomes, storage_pb2.PartOutcome))

    async def Admit(self, request: storage_pb2.AdmitBatch, _: Context) -> storage_pb2.AdmitOutcomes:
        outcomes = await divided(self._storage.admissions.admit, list(request.items), "Admit")
        return storage_pb2.AdmitOutcomes(outcomes=_with_faults(outcomes, storage_pb2.AdmitOutcome))

    async def Append(self, request: storage_pb2.AppendBatch, _: Context) -> storage_pb2.AppendOutcomes:
        numbers = await self._storage.inboxes.append([_append(item) for item in request.items])
        answer = storage_pb2.AppendOutcomes()
        for number in numbers:
            if isinstance(number, TidingsError):
                answer.fault.CopyFrom(to_fault(number))
            answer.numbers.append(0 if isinstance(number, TidingsError) else number)
        if numbers and all(isinstance(number, Unavailable) for number in numbers):
            raise from_fault(answer.fault)
        return answer

    async def Open(self, request: storage_pb2.SessionBatch, _: Context) -> storage_pb2.SessionOpenOutcomes:
        live_boots = request.live_boots

        async def open_(
            items: list[storage_pb2.SessionItem],
        ) -> Sequence[storage_pb2.SessionOpenOutcome | TidingsError]:
            return await self._storage.sessions.open(items, live_boots)

        outcomes = await divided(open_, list(request.items), "Open")
        return storage_pb2.SessionOpenOutcomes(outcomes=_with_faults(outcomes, storage_pb2.SessionOpenOutcome))

    async def Close(self, request: storage_pb2.SessionCloseBatch, _: Context) -> common_pb2.Empty:
        await self._storage.sessions.close(request.items)
        return common_pb2.Empty()

    async def Sessions(self, request: storage_pb2.KeyBatch, _: Context) -> storage_pb2.SessionsOutcomes:
        return storage_pb2.SessionsOutcomes(outcomes=await self._storage.sessions.sessions_of(request.keys))

    async def SessionsUnder(self, request: storage_pb2.BootQuery, _: Context) -> storage_pb2.BootPage:
        return await self._storage.sessions.under(request)

    async def Acknowledge(self, request: storage_pb2.AcknowledgeBatch, _: Context) -> storage_pb2.AcknowledgeOutcomes:
        acknowledge = partial(self._storage.acknowledgements.acknowledge, mark=request.mark)
        outcomes = await divided(acknowledge, list(request.items), "Acknowledge")
        return storage_pb2.AcknowledgeOutcomes(outcomes=_with_faults(outcomes, storage_pb2.AcknowledgeOutcome))

    async def InboxHeads(self, request: storage_pb2.KeyBatch, _: Context) -> storage_pb2.HeadOutcomes:
        return await self._storage.pages.inbox_heads(request.keys)

    async def Inbox(self, request: storage_pb2.InboxBatch, _: Context) -> storage_pb2.PageOutcomes:
        outcomes = await divided(self._storage.pages.inbox, list(request.items), "Inbox")
        return storage_pb2.PageOutcomes(outcomes=_with_faults(outcomes, storage_pb2.PageOutcome))

    async def Conversations(
        self, request: storage_pb2.ConversationsBatch, _: Context
    ) -> storage_pb2.ConversationsOutcomes:
        outcomes = await divided(self._storage.lists.pages, list(request.items), "Conversations")
        return storage_pb2.ConversationsOutcomes(outcomes=_with_faults(outcomes, storage_pb2.ConversationsOutcome))

    async def Users(self, request: storage_pb2.KeyBatch, _: Context) -> storage_pb2.UsersOutcomes:
        return storage_pb2.UsersOutcomes(users=await self._storage.sessions.users(request.keys))

    async def React(self, request: storage_pb2.StoreBatch, _: Context) -> storage_pb2.StoreOutcomes:
        outcomes = await divided(self._storage.reactions.react, list(request.items), "React")
        failed = partial(storage_pb2.StoreOutcome, status=storage_pb2.StoreOutcome.FAILED)
        return storage_pb2.StoreOutcomes(outcomes=_with_faults(outcomes, failed))

    async def Reactors(self, request: storage_pb2.ReactorsBatch, _: Context) -> storage_pb2.ReactorsOutcomes:
        outcomes = await divided(self._storage.reactors.pages, list(request.items), "Reactors")
        return storage_pb2.ReactorsOutcomes(outcomes=_with_faults(outcomes, storage_pb2.ReactorsOutcome))

    async def Prefer(self, request: storage_pb2.PreferBatch, _: Context) -> storage_pb2.PreferOutcomes:
        outcomes = await divided(self._storage.preferences.prefer, list(request.items), "Prefer")
        return storage_pb2.PreferOutcomes(outcomes=_with_faults(outcomes, storage_pb2.PreferOutcome))

    async def Readers(self, request: storage_pb2.ReadersBatch, _: Context) -> storage_pb2.ReadersOutcomes:
        outcomes = await divided(self._storage.readers.readers, list(request.items), "Readers")
        return storage_pb2.ReadersOutcomes(outcomes=_with_faults(outcomes, storage_pb2.ReadersOutcome))

    async def Block(self, request: storage_pb2.BlockBatch, _: Context) -> storage_pb2.BlockOutcomes:
        outcomes = await divided(self._storage.blocks.block, list(request.items), "Block")
        return storage_pb2.BlockOutcomes(outcomes=_with_faults(outcomes, storage_pb2.BlockOutcome))

    async def Blocked(self, request: storage_pb2.BlockedBatch, _: Context) -> storage_pb2.BlockedOutcomes:
        outcomes = await divided(self._storage.blocks.blocked, list(request.items), "Blocked")
        return storage_pb2.BlockedOutcomes(outcomes=_with_faults(outcomes, storage_pb2.BlockedOutcome))

    async def BlockedBy(self, request: storage_pb2.BlockListBatch, _: Context) -> storage_pb2.BlockListOutcomes:
        outcomes = await divided(self._storage.blocks.listed, list(request.items), "BlockedBy")
        return storage_pb2.BlockListOutcomes(outcomes=_with_faults(outcomes, storage_pb2.BlockListOutcome))

    async def Profiles(self, request: storage_pb2.KeyBatch, _: Context) -> storage_pb2.ProfilesOutcomes:
        return storage_pb2.ProfilesOutcomes(profiles=await self._storage.profiles.profiles(request.keys))

    async def SetProfile(self, request: storage_pb2.ProfileBatch, _: Context) -> storage_pb2.ProfileOutcomes:
        outcomes = await divided(self._storage.profiles.put, list(request.items), "SetProfile")
        return storage_pb2.ProfileOutcomes(outcomes=_with_faults(outcomes, storage_pb2.ProfileOutcome))

    async def Forget(self, request: storage_pb2.ForgetBatch, _: Context) -> common_pb2.Empty:
        await self._storage.forget(request.users, request.conversations)
        return common_pb2.Empty()


def services(storage: Storage, leave: Callable[[int], None]) -> Sequence[Service]:
    """The services of this node, as common/rpc serves them."""
    return [
        (storage_pb2_grpc.add_StorageServicer_to_server, StorageServicer(storage)),
        node_service(leave),
    ]


def _append(item: storage_pb2.AppendItem) -> Append:
    return Append(item.user, item.conversation, item.seq, item.time_ms, item.again, item.only_look, item.quiet)


def _with_faults(outcomes: Sequence[O | TidingsError], failed: Callable[..., O]) -> Sequence[O]:
    """The outcomes, each error as one with its fault. Raises as `_raise_if_away` does."""
    return _raise_if_away(
        [failed(fault=to_fault(each)) if isinstance(each, TidingsError) else each for each in outcomes]
    )


def _raise_if_away(outcomes: Sequence[O]) -> Sequence[O]:
    """Gives the outcomes back. Raises Unavailable if nothing could be done, and another try may do better."""
    if outcomes and all(_is_away(outcome.fault) for outcome in outcomes):
        raise from_fault(outcomes[0].fault)
    return outcomes


def _is_away(fault: common_pb2.Fault) -> bool:
    return fault.code == Unavailable.code and fault.retry_after_ms > 0
