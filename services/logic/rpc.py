"""What a logic node serves: Logic for the access nodes and storage nodes, Admin for the operator, Node for both.

The edge: batches are admitted or refused whole, errors of items become faults.

Guarantees: outcomes aligned with the items; a batch that is refused as a whole has the same fault in each of them, or
is an error where outcomes have none. A defect in the handling of one item is that item's fault, and no other's; where
outcomes have no room for one, whoever called finds out by halves (dividing.py).

Does not know: gRPC's classes beyond the generated servicers (common/rpc serves them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from protos.tidings.internal.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    common_pb2,
    logic_pb2,
    logic_pb2_grpc,
    storage_pb2,
)
from services.common.lanes.dividing import divided
from services.common.node import node_service
from services.common.rpc import Service
from services.common.rpc.faults import to_fault
from services.common.scope import run_all
from services.common.telemetry import logs
from services.logic.admin import Admin
from services.logic.in_flight import InFlightLimit
from services.logic.messages.rows import RowSender
from services.logic.messages.sender import MessageSender
from services.logic.messages.signals import Signals
from services.logic.messages.stream_parts import StreamParts
from services.logic.messages.telling import EntryTeller
from services.logic.requests.cursors import CursorMarker
from services.logic.requests.dispatcher import Dispatcher, encoded
from services.logic.sessions.sessions import ClientSessions
from services.logic.storage_client import StorageClient
from tidings_protocol.errors import TidingsError

log = logs.get_logger(__name__)

Context = Any
# Pages of 200 large groups: a user of more is told so, and nobody is taken out of the index by such a list.
LARGE_PAGES_MAX = 50


class LogicServicer(logic_pb2_grpc.LogicServicer):
    """Serves the calls of access nodes, and of storage nodes that have something to tell.

    Each call may be repeated; one that is cancelled may have been done.
    """

    def __init__(
        self,
        sessions: ClientSessions,
        sender: MessageSender,
        rows: RowSender,
        signals: Signals,
        parts: StreamParts,
        cursors: CursorMarker,
        dispatcher: Dispatcher,
        storage: StorageClient,
        entries: EntryTeller,
        *,
        sends: InFlightLimit,
        requests: InFlightLimit,
    ) -> None:
        self._sessions = sessions
        self._sender = sender
        self._rows = rows
        self._signals = signals
        self._parts = parts
        self._cursors = cursors
        self._dispatcher = dispatcher
        self._storage = storage
        self._entries = entries
        self._sends = sends
        self._requests = requests

    async def Open(self, request: logic_pb2.OpenBatch, _: Context) -> logic_pb2.OpenOutcomes:  # noqa: N802
        try:
            with self._requests.admit(len(request.items)):
                opened = await divided(self._sessions.open, list(request.items), "Open")
        except TidingsError as error:
            opened = [error] * len(request.items)
        return logic_pb2.OpenOutcomes(outcomes=_told(opened, logic_pb2.OpenOutcome))

    async def Close(self, request: logic_pb2.CloseBatch, _: Context) -> common_pb2.Empty:  # noqa: N802
        """Ends sessions as nodes of 0.1.0 ask for it, which repeat all of a batch."""
        with self._requests.admit(len(request.items)):
            for error in await self._sessions.close(request.items):
                if error is not None:
                    raise error
        return common_pb2.Empty()

    async def End(self, request: logic_pb2.CloseBatch, _: Context) -> logic_pb2.CloseOutcomes:  # noqa: N802
        with self._requests.admit(len(request.items)):
            outcomes = await self._sessions.close(request.items)
        if not any(outcomes):
            return logic_pb2.CloseOutcomes()
        faults = [common_pb2.Fault() if error is None else to_fault(error) for error in outcomes]
        return logic_pb2.CloseOutcomes(faults=faults)

    async def Held(self, request: logic_pb2.HeldQuery, _: Context) -> logic_pb2.HeldPage:  # noqa: N802
        with self._requests.admit(1):
            return await self._sessions.held(request)

    async def Send(self, request: logic_pb2.SendBatch, _: Context) -> logic_pb2.SendOutcomes:  # noqa: N802
        try:
            with self._sends.admit(len(request.items)):
                send = partial(self._sender.send, holds=request.holds)
                sent = await divided(send, list(request.items), "Send")
        except TidingsError as error:
            sent = [error] * len(request.items)
        return logic_pb2.SendOutcomes(outcomes=_told(sent, logic_pb2.SendOutcome))

    async def SendRows(self, request: logic_pb2.SendColumns, _: Context) -> logic_pb2.SentColumns:  # noqa: N802
        with self._sends.admit(len(request.senders)):
            try:
                return await self._rows.send(request)
            except Exception:  # a defect: the general way finds out which row it is of
                log.exception("columns failed", rows=len(request.senders))
                return await self._rows.send_generally(request)

    async def Signal(self, request: logic_pb2.SignalBatch, _: Context) -> logic_pb2.SignalOutcomes:  # noqa: N802
        outcomes: Sequence[TidingsError | None]
        try:
            with self._requests.admit(len(request.items)):
                outcomes = await divided(self._signals.signal, list(request.items), "Signal")
        except TidingsError as error:
            outcomes = [error] * len(request.items)
        return logic_pb2.SignalOutcomes(
            outcomes=[logic_pb2.SignalOutcome(fault=to_fault(error) if error else None) for error in outcomes]
        )

    async def StreamParts(  # noqa: N802
        self, request: logic_pb2.StreamPartBatch, _: Context
    ) -> logic_pb2.StreamPartOutcomes:
        outcomes: Sequence[TidingsError | None]
        try:
            with self._requests.admit(len(request.items)):
                outcomes = await divided(self._parts.take, list(request.items), "StreamParts")
        except TidingsError as error:
            outcomes = [error] * len(request.items)
        return logic_pb2.StreamPartOutcomes(
            outcomes=[logic_pb2.StreamPartOutcome(fault=to_fault(error) if error else None) for error in outcomes]
        )

    async def Acknowledge(self, request: logic_pb2.AckBatch, _: Context) -> common_pb2.Empty:  # noqa: N802
        with self._requests.admit(len(request.items)):
            await self._cursors.acknowledge(request.items)
        return common_pb2.Empty()

    async def Handle(self, request: logic_pb2.HandleBatch, _: Context) -> logic_pb2.HandleOutcomes:  # noqa: N802
        try:
            with self._requests.admit(len(request.items)):
                return logic_pb2.HandleOutcomes(outcomes=await self._dispatcher.handle(request.items))
        except TidingsError as error:
            refused = logic_pb2.HandleOutcome(frame=encoded(error))
            return logic_pb2.HandleOutcomes(outcomes=[refused] * len(request.items))

    async def Tell(self, request: logic_pb2.TellBatch, _: Context) -> common_pb2.Empty:  # noqa: N802
        with self._requests.admit(len(request.items)):
            await self._entries.tell(request.items)
        return common_pb2.Empty()

    async def Heads(self, request: logic_pb2.HeadsQuery, _: Context) -> logic_pb2.HeadsAnswer:  # noqa: N802
        with self._requests.admit(len(request.users) + len(request.conversations)):
            users, conversations = await run_all(
                self._storage.inbox_heads(request.users), self._storage.conversation_heads(request.conversations)
            )
            large = await self._large_groups(request.users) if request.large_groups else ()
        return logic_pb2.HeadsAnswer(users=_known(users), conversations=_known(conversations), large_groups=large)

    async def _large_groups(self, users: Sequence[str]) -> list[logic_pb2.LargeGroups]:
        """The large groups of each user. Raises the error if those of one are not known: none would be an answer."""
        groups = {user: logic_pb2.LargeGroups() for user in users}
        items = [storage_pb2.ConversationsItem(user=user, large_only=True) for user in groups]
        for _ in range(LARGE_PAGES_MAX):
            rest: list[storage_pb2.ConversationsItem] = []
            for item, listed in zip(items, await self._storage.conversations(items), strict=True):
                if isinstance(listed, TidingsError):
                    raise listed
                found = groups[item.user]
                found.heads.update({entry.record.conversation: entry.record.head for entry in listed.entries})
                found.more = listed.more
                if listed.more:
                    rest.append(storage_pb2.ConversationsItem(user=item.user, large_only=True, after=listed.next))
            if not rest:
                break
            items = rest
        return [groups[user] for user in users]


class AdminServicer(admin_pb2_grpc.AdminServicer):
    """Serves the calls of the operator, for whoever has the token."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    async def Sessions(self, request: admin_pb2.AdminUser, context: Context) -> admin_pb2.AdminSessions:  # noqa: N802
        self._check(context)
        return await self._admin.sessions(request.user)

    async def Kick(self, request: admin_pb2.KickRequest, context: Context) -> admin_pb2.KickAnswer:  # noqa: N802
        self._check(context)
        return await self._admin.kick(request)

    async def Broadcast(  # noqa: N802
        self, request: admin_pb2.BroadcastRequest, context: Context
    ) -> admin_pb2.BroadcastAnswer:
        self._check(context)
        return await self._admin.broadcast(request)

    async def Drain(self, request: admin_pb2.AdminDrain, context: Context) -> common_pb2.Empty:  # noqa: N802
        self._check(context)
        return await self._admin.drain(request)

    async def User(self, request: admin_pb2.AdminUser, context: Context) -> storage_pb2.UserRecord:  # noqa: N802
        self._check(context)
        return await self._admin.user(request.user)

    async def Group(self, request: admin_pb2.AdminGroup, context: Context) -> admin_pb2.AdminGroupAnswer:  # noqa: N802
        self._check(context)
        return await self._admin.group(request)

    def _check(self, context: Context) -> None:
        self._admin.check_token(context.invocation_metadata() or ())


def services(logic: LogicServicer, admin: AdminServicer, leave: Callable[[int], None]) -> list[Service]:
    """The services as common/rpc serves them. `leave` begins the drain of this process."""
    return [
        (logic_pb2_grpc.add_LogicServicer_to_server, logic),
        (admin_pb2_grpc.add_AdminServicer_to_server, admin),
        node_service(leave),
    ]


O = TypeVar("O")  # noqa: E741 - an outcome


def _told(outcomes: Sequence[O | TidingsError], failed: Callable[..., O]) -> list[O]:
    """The outcomes, each error as one with its fault."""
    return [failed(fault=to_fault(each)) if isinstance(each, TidingsError) else each for each in outcomes]


def _known(heads: Sequence[int | TidingsError]) -> list[int]:
    """The heads; one that is not known is 0, which says nothing new, and is asked for with the next heartbeat."""
    errors = [head for head in heads if isinstance(head, TidingsError)]
    if errors and len(errors) == len(heads):
        raise errors[0]
    return [0 if isinstance(head, TidingsError) else head for head in heads]
