"""Just enough of logic and storage behind an access node: numbers messages, keeps inboxes, pushes through the bus.

It decides nothing: everybody may do everything. What tests look at is public: `opened`, `closed`, `acks`, `handled`.
`gate` holds calls up while it is cleared; `away` makes them fail; sends with client ids in `undecided` are pending, and
with them what comes behind them in their conversation, but only if it is in the same batch: it remembers nothing of it.

Guarantees: what clients are answered about messages, inboxes and presence is what the real nodes answer
(tests/contract/client_protocol). Does not know: histories and groups; what it says of them is canned.
"""

# ruff: noqa: N802  # the names of gRPC

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from protos.tidings.internal.v1 import common_pb2, delivery_pb2, logic_pb2, logic_pb2_grpc
from services.common.bus.contract import Bus, Record
from services.common.cluster import Cluster
from services.common.rpc.faults import to_fault
from services.storage.repository.records import SessionDocument
from services.storage.sessions.newest import Login, Overtaken, decide
from tidings_protocol import client_pb2, ids
from tidings_protocol.errors import NotFound, TidingsError, Unavailable
from tidings_protocol.operations import OPERATIONS, Handler, Operation, name_of
from tidings_protocol.wire.body import message_bytes

EPOCH = "epoch-1"
TIME_MS = 1_700_000_000_000
Push = delivery_pb2.Push


class FakeLogic(logic_pb2_grpc.LogicServicer):
    def __init__(self, bus: Bus, cluster: Cluster, *, topic_prefix: str = "tidings") -> None:
        self._bus = bus
        self._cluster = cluster
        self._prefix = topic_prefix
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False
        self.pushing = True
        self.opened: list[logic_pb2.OpenItem] = []
        self.closed: list[logic_pb2.CloseItem] = []
        self.acks: list[logic_pb2.AckItem] = []
        self.handled: list[logic_pb2.HandleItem] = []
        self.sent: list[logic_pb2.SendItem] = []
        self.undecided: set[str] = set()
        self.batches: list[int] = []  # items of each Send
        self.calls: list[int] = []  # items of each Handle
        self.seqs: dict[str, int] = defaultdict(int)
        self.inboxes: dict[str, list[bytes]] = defaultdict(list)
        self.known: dict[tuple[str, str, str], logic_pb2.SendOutcome] = {}
        self.large: dict[str, set[str]] = {}
        self.sessions: dict[tuple[str, str], logic_pb2.OpenItem] = {}
        self.documents: dict[tuple[str, str], SessionDocument] = {}
        self.open_fault: TidingsError | None = None
        self.stored_fault: TidingsError | None = None  # the session is stored, and the answer is this
        self.pages_more = False

    # ---- the service

    async def Open(self, request: logic_pb2.OpenBatch, context: Any) -> logic_pb2.OpenOutcomes:
        await self._ready()
        self.opened.extend(request.items)
        outcomes = []
        for item in request.items:
            if self.open_fault is not None:
                outcomes.append(logic_pb2.OpenOutcome(fault=to_fault(self.open_fault)))
                continue
            try:
                replaced = self._put(item)
            except Overtaken as error:
                newer = error.newer
                outcomes.append(logic_pb2.OpenOutcome(newer=newer.session, newer_attempt=newer.attempt))
                continue
            if self.stored_fault is not None:
                outcomes.append(logic_pb2.OpenOutcome(fault=to_fault(self.stored_fault)))
                continue
            groups = [group for group, members in self.large.items() if item.user in members]
            outcomes.append(
                logic_pb2.OpenOutcome(
                    inbox_head=len(self.inboxes[item.user]),
                    epoch=EPOCH,
                    reset=item.epoch not in {"", EPOCH},
                    large_groups=groups,
                    group_heads={g: self.seqs[g] for g in groups if self.seqs[g] > item.group_cursors.get(g, 0)},
                    left_groups=[group for group in item.group_cursors if group not in groups],
                    replaced=replaced,
                )
            )
        changes = [delivery_pb2.SessionChange(user=item.user, up=True, time_ms=TIME_MS) for item in request.items]
        await self._announce(changes)
        return logic_pb2.OpenOutcomes(outcomes=outcomes)

    async def End(self, request: logic_pb2.CloseBatch, context: Any) -> logic_pb2.CloseOutcomes:
        await self._ready()
        self.closed.extend(request.items)
        for item in request.items:
            known = self.sessions.get((item.user, item.device))
            if known is not None and known.session == item.session:
                self.forget(item.user, item.device)
        await self._announce([delivery_pb2.SessionChange(user=each.user, up=False) for each in request.items])
        return logic_pb2.CloseOutcomes()

    async def Close(self, request: logic_pb2.CloseBatch, context: Any) -> common_pb2.Empty:
        raise AssertionError("only nodes of 0.1.0 ask this")

    async def Held(self, request: logic_pb2.HeldQuery, context: Any) -> logic_pb2.HeldPage:
        await self._ready()
        mine = sorted(key for key, item in self.sessions.items() if item.boot_id == request.boot_id)
        rest = [key for key in mine if key > (request.after_user, request.after_device)]
        page = [
            logic_pb2.HeldSession(user=user, device=device, session=self.sessions[user, device].session)
            for user, device in rest[:2]
        ]
        return logic_pb2.HeldPage(sessions=page, more=len(rest) > len(page))

    async def Send(self, request: logic_pb2.SendBatch, context: Any) -> logic_pb2.SendOutcomes:
        await self._ready()
        self.batches.append(len(request.items))
        self.sent.extend(request.items)
        outcomes, pushes = [], []
        held: set[str] = set()
        for item in request.items:
            key = (item.sender, item.conversation, item.client_id)
            if key in self.known:
                again = logic_pb2.SendOutcome()
                again.CopyFrom(self.known[key])
                again.duplicate = True
                outcomes.append(again)
                continue
            if item.client_id in self.undecided or item.conversation in held:
                held.add(item.conversation)
                outcomes.append(logic_pb2.SendOutcome(pending=True))
                continue
            outcome, push = self._store(item)
            self.known[key] = outcome
            outcomes.append(outcome)
            pushes.append(push)
        if self.pushing:
            await self.push(pushes)
        return logic_pb2.SendOutcomes(outcomes=outcomes)

    async def SendRows(self, request: logic_pb2.SendColumns, context: Any) -> logic_pb2.SentColumns:
        sent = await self.Send(logic_pb2.SendBatch(items=items_of(request), holds=True), context)
        answer = logic_pb2.SentColumns()
        for place, outcome in enumerate(sent.outcomes):
            unusual = outcome.HasField("fault") or outcome.duplicate or outcome.pending
            if unusual:
                answer.unusual.add(place=place, outcome=outcome)
            answer.seqs.append(0 if unusual else outcome.seq)
            answer.times_ms.append(0 if unusual else outcome.time_ms)
            answer.numbers.append(0 if unusual else outcome.number)
        return answer

    async def Signal(self, request: logic_pb2.SignalBatch, context: Any) -> logic_pb2.SignalOutcomes:
        await self._ready()
        pushes = []
        for item in request.items:
            body = client_pb2.Signal(conversation=item.conversation, name=item.name, data=item.data)
            setattr(body, "from", item.sender)
            users = ids.peers(item.conversation) if item.conversation.startswith("d:") else ()
            pushes.append(
                Push(kind=Push.SIGNAL, body=body.SerializeToString(), users=users, except_session=item.session)
            )
        await self.push(pushes)
        return logic_pb2.SignalOutcomes(outcomes=[logic_pb2.SignalOutcome() for _ in request.items])

    async def StreamParts(self, request: logic_pb2.StreamPartBatch, context: Any) -> logic_pb2.StreamPartOutcomes:
        raise AssertionError("nobody writes a stream here")

    async def Tell(self, request: logic_pb2.TellBatch, context: Any) -> common_pb2.Empty:
        raise AssertionError("only storage nodes ask this")

    async def Acknowledge(self, request: logic_pb2.AckBatch, context: Any) -> common_pb2.Empty:
        await self._ready()
        self.acks.extend(request.items)
        return common_pb2.Empty()

    async def Handle(self, request: logic_pb2.HandleBatch, context: Any) -> logic_pb2.HandleOutcomes:
        await self._ready()
        self.handled.extend(request.items)
        self.calls.append(len(request.items))
        return logic_pb2.HandleOutcomes(
            outcomes=[logic_pb2.HandleOutcome(frame=self._reply(item).SerializeToString()) for item in request.items]
        )

    async def Heads(self, request: logic_pb2.HeadsQuery, context: Any) -> logic_pb2.HeadsAnswer:
        await self._ready()
        return logic_pb2.HeadsAnswer(
            users=[len(self.inboxes[user]) for user in request.users],
            conversations=[self.seqs[conversation] for conversation in request.conversations],
            large_groups=[self._groups_of(user) for user in request.users] if request.large_groups else (),
        )

    def _groups_of(self, user: str) -> logic_pb2.LargeGroups:
        heads = {group: self.seqs[group] for group, members in self.large.items() if user in members}
        return logic_pb2.LargeGroups(heads=heads)

    def _put(self, item: logic_pb2.OpenItem) -> list[logic_pb2.SessionPlace]:
        """Puts a session as storage decides it."""
        document = SessionDocument(
            user=item.user,
            device=item.device,
            session=item.session,
            node=item.node,
            boot_id=item.boot_id,
            since_ms=item.since_ms,
            attempt=item.attempt,
        )
        known = [each for (user, _), each in self.documents.items() if user == item.user]
        put = decide(Login(document, 0, self._cluster.boots, again=item.again), known, 0)
        self.documents[item.user, item.device] = put.document
        self.sessions[item.user, item.device] = item
        return [
            logic_pb2.SessionPlace(session=name, node=node, boot_id=boot) for name, node, boot in put.document.replaced
        ]

    # ---- what tests do

    def forget(self, user: str, device: str) -> None:
        """The record of a session is gone."""
        del self.sessions[user, device], self.documents[user, device]

    async def push(self, pushes: list[delivery_pb2.Push]) -> None:
        """One record for each owner, as logic's router does it, and one on the broadcast."""
        ring = self._cluster.ring("access")
        parcels: dict[str, delivery_pb2.Parcel] = {}
        broadcast = delivery_pb2.Parcel()
        for push in pushes:
            if not push.users:
                broadcast.pushes.append(push)
                continue
            for place, user in enumerate(push.users):
                owner = ring.owner_of(user)
                record = self._cluster.node(owner) if owner else None
                if record is None:
                    continue
                parcel = parcels.setdefault(record.name, delivery_pb2.Parcel(node=record.name, boot_id=record.boot_id))
                mine = parcel.pushes.add()
                mine.CopyFrom(push)
                del mine.users[:], mine.numbers[:]
                mine.users.append(user)
                if push.numbers:
                    mine.numbers.append(push.numbers[place])
        records = []
        for name, parcel in parcels.items():
            record = self._cluster.node(name)
            assert record is not None
            records.append(Record(f"{self._prefix}.deliver", parcel.SerializeToString(), partition=record.mailbox))
        if broadcast.pushes:
            records.append(Record(f"{self._prefix}.broadcast", broadcast.SerializeToString(), partition=0))
        try:
            await self._bus.publish(records)
        except Unavailable:
            return

    # ---- inside

    async def _ready(self) -> None:
        await self.gate.wait()
        if self.away:
            raise Unavailable("the database is away: try again", 300)

    async def _announce(self, changes: list[delivery_pb2.SessionChange]) -> None:
        body = delivery_pb2.SessionChanges(changes=changes).SerializeToString()
        await self.push([Push(kind=Push.SESSIONS, body=body)])

    def _store(self, item: logic_pb2.SendItem) -> tuple[logic_pb2.SendOutcome, delivery_pb2.Push]:
        self.seqs[item.conversation] += 1
        seq = self.seqs[item.conversation]
        body = message_bytes(
            conversation=item.conversation,
            seq=seq,
            message_id=ids.message_id(item.conversation, seq),
            sender=item.sender,
            time_ms=TIME_MS,
            content=item.content,
            kind=client_pb2.Message.NORMAL,
            client_id=item.client_id,
            ordinal=seq,
        )
        outcome = logic_pb2.SendOutcome(seq=seq, time_ms=TIME_MS)
        push = Push(
            kind=Push.MESSAGE,
            body=body,
            except_session=item.session,
            conversation=item.conversation,
            accepted_ms=item.accepted_ms,
        )
        if item.conversation.startswith("d:"):
            for user in dict.fromkeys(ids.peers(item.conversation)):
                self.inboxes[user].append(body)
                push.users.append(user)
                push.numbers.append(len(self.inboxes[user]))
                if user == item.sender:
                    outcome.number = len(self.inboxes[user])
        return outcome, push

    def _reply(self, item: logic_pb2.HandleItem) -> client_pb2.ServerFrame:
        frame = client_pb2.ClientFrame.FromString(item.frame)
        match frame.WhichOneof("body"):
            case "sync":
                inbox = self.inboxes[item.user]
                entries = [
                    client_pb2.Entry(number=number, message=client_pb2.Message.FromString(body))
                    for number, body in enumerate(inbox, 1)
                    if number > frame.sync.after
                ]
                page = client_pb2.Page(entries=entries, next=len(inbox), head=len(inbox), more=self.pages_more)
                return client_pb2.ServerFrame(page=page)
            case "history":
                return client_pb2.ServerFrame(page=client_pb2.Page())
            case "read":
                return client_pb2.ServerFrame(ok=client_pb2.Ok())
            case "conversations":
                return client_pb2.ServerFrame(conversation_page=client_pb2.ConversationPage())
            case "group":
                if frame.group.WhichOneof("act") == "info":
                    error = NotFound("there is no such group")
                    return client_pb2.ServerFrame(error=client_pb2.Error(code=error.code, message=error.message))
                operation = OPERATIONS[name_of(frame)]
                if operation.act:
                    return _empty_answer(operation)
                return client_pb2.ServerFrame(group_info=client_pb2.GroupInfo(conversation="g:1"))
            case "presence":
                return client_pb2.ServerFrame(
                    presence_list=client_pb2.PresenceList(
                        users=[
                            client_pb2.Presence(user=user, online=any(key[0] == user for key in self.sessions))
                            for user in frame.presence.users
                        ]
                    )
                )
            case _:
                return _empty_answer(OPERATIONS[name_of(frame)])


def _empty_answer(operation: Operation) -> client_pb2.ServerFrame:
    """The answer to what this fake knows only from the table."""
    assert operation.handler is Handler.LOGIC, f"logic was handed a {operation.name}"
    frame = client_pb2.ServerFrame()
    getattr(frame, operation.answers[0]).SetInParent()
    return frame


def items_of(columns: logic_pb2.SendColumns) -> list[logic_pb2.SendItem]:
    """The same sends, one by one."""
    return [
        logic_pb2.SendItem(
            sender=sender,
            session=columns.sessions[place],
            conversation=columns.conversations[place],
            client_id=columns.client_ids[place],
            content=columns.contents[place],
            reply_to=columns.reply_tos[place] if columns.reply_tos else 0,
            trace=columns.traces[place] if columns.traces else "",
            accepted_ms=columns.accepted_ms[place],
        )
        for place, sender in enumerate(columns.senders)
    ]
