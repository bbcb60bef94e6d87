"""A logic node's shells on a fake storage and a bus in memory, with what they published decoded.

Does not know: gRPC, processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from google.protobuf.message import Message

from protos.tidings.internal.v1 import access_pb2, common_pb2, delivery_pb2, logic_pb2
from protos.tidings.v1 import events_pb2
from services.common.bus.contract import Topic
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.bus.topics import TopicNames
from services.common.clock import ManualClock
from services.common.parcel_calls import ParcelCalls
from services.common.registry.contract import Membership, NodeRecord
from services.common.ring import Ring
from services.common.telemetry.health import Health
from services.logic.admin import Admin, AdminOptions
from services.logic.changes.group_changes import GroupChanges
from services.logic.changes.invitations import Invitations
from services.logic.changes.join_requests import JoinRequests
from services.logic.changes.session_guard import SessionGuard
from services.logic.groups.loader import GroupLoader
from services.logic.groups.model import GroupPolicy
from services.logic.messages.hooks import Hooks
from services.logic.messages.reactions import Reactor
from services.logic.messages.rights import ChangeWindows
from services.logic.messages.rows import RowSender
from services.logic.messages.sender import MessageSender
from services.logic.messages.signals import Signals
from services.logic.messages.stream_parts import StreamParts
from services.logic.people.blocks import Blocks
from services.logic.people.news import PeopleNews
from services.logic.publishing.events import EventEncoder
from services.logic.publishing.message_columns import OutgoingMessages
from services.logic.publishing.publisher import Publisher, PublisherOptions
from services.logic.publishing.records import Publication
from services.logic.receipts.sender import ReceiptSender
from services.logic.requests import absent
from services.logic.requests.conversations import ConversationLister
from services.logic.requests.cursors import CursorMarker
from services.logic.requests.dispatcher import Dispatcher
from services.logic.requests.groups.lists import GroupLists
from services.logic.requests.groups.reads import GroupReader
from services.logic.requests.hides import MessageHider
from services.logic.requests.history import HistoryReader
from services.logic.requests.inbox import InboxReader
from services.logic.requests.people.blocks import BlockHandler
from services.logic.requests.people.preferences import PreferenceSetter
from services.logic.requests.people.presence import PresenceReader
from services.logic.requests.people.profiles import ProfileHandler
from services.logic.requests.reactors import ReactorsReader
from services.logic.requests.readers import ReadersReader
from services.logic.sessions.sessions import ClientSessions, SessionOptions
from services.logic.storage_client import StorageClient
from tests.unit.logic.fake_storage import FakeStorage
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.wire.body import read_message

TOPICS = TopicNames("t", 1)
PAGE_BYTES = 100_000
TOKEN = "an operator's token"
# Comes after all messages that were handed over before.
AFTER_MESSAGES = Publication(columns=OutgoingMessages([], [], [], [], [], [], []))
POLICY = GroupPolicy(large_above=5, members_max=50, users_max=20)
NODES = tuple(
    NodeRecord(
        f"access-{number}", "access", f"boot-{number}", f"host:{number}", state="ready", mailbox=number, columns=True
    )
    for number in range(2)
)


@dataclass
class View:
    """A cluster that stands still: two access nodes."""

    membership: Membership = field(default_factory=lambda: Membership.of(1, list(NODES)))
    connected: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def boots(self) -> frozenset[str]:
        return frozenset(node.boot_id for node in self.membership.nodes)

    def ring(self, kind: Any) -> Ring:
        return Ring.build({node.name: 1.0 for node in self.membership.nodes if node.kind == kind})

    def node(self, name: str) -> NodeRecord | None:
        return next((node for node in self.membership.nodes if node.name == name), None)

    def alive(self, boot_id: str) -> bool:
        return boot_id in self.boots

    async def changed(self) -> None:
        await self.news.wait()
        self.news.clear()

    def join(self, boot_id: str) -> None:
        """The registry tells of one more access node."""
        joined = NodeRecord(f"access-{boot_id}", "access", boot_id, f"host:{boot_id}", state="ready", mailbox=9)
        self.membership = Membership.of(self.membership.revision + 1, [*self.membership.nodes, joined])
        self.news.set()


@dataclass
class FakePeers:
    """Access nodes that end every session they are told to; they take deliveries only if `delivers` says so."""

    evicted: list[tuple[str, str, int, str]] = field(default_factory=list)
    drained: list[tuple[str, int]] = field(default_factory=list)
    fail: list[TidingsError] = field(default_factory=list)
    delivers: set[str] = field(default_factory=set)  # names of nodes
    delivered: list[tuple[str, delivery_pb2.Parcel]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)  # deliveries wait while it is cleared

    def __post_init__(self) -> None:
        self.gate.set()

    async def call(self, method: str, request: Any, reply_type: Any, *, node: NodeRecord, timeout_s: float) -> Any:
        if self.fail:
            raise self.fail.pop(0)
        if method.endswith("Deliver"):
            await self.gate.wait()
            if node.name not in self.delivers:
                raise Unavailable("this node does not answer")
            self.delivered += [(node.name, delivery_pb2.Parcel.FromString(value)) for value in request.parcels]
            return access_pb2.DeliverOutcome()
        if method.endswith("Drain"):
            self.drained.append((node.name, request.pace_per_s))
            return common_pb2.Empty()
        self.evicted += [(node.name, each.session, each.code, each.message) for each in request.evictions]
        return access_pb2.EvictOutcome(evicted=len(request.evictions))


@dataclass
class Logic:
    """All of it; `pushes`, `events` and `changes` give what was published since they were asked last."""

    storage: FakeStorage
    broker: MemoryBroker
    bus: MemoryBus
    clock: ManualClock
    health: Health
    peers: FakePeers
    view: View
    calls: ParcelCalls
    publisher: Publisher
    receipts: ReceiptSender
    sender: MessageSender
    rows: RowSender
    signals: Signals
    parts: StreamParts
    cursors: CursorMarker
    sessions: ClientSessions
    dispatcher: Dispatcher
    admin: Admin
    loader: GroupLoader
    _read: dict[tuple[str, int], int] = field(default_factory=dict)

    async def send(self, *items: logic_pb2.SendItem, holds: bool = False) -> list[logic_pb2.SendOutcome]:
        outcomes = await self.sender.send(items, holds=holds)
        await self.all_told()
        return outcomes

    async def all_told(self) -> None:
        """Returns when all messages that were handed over are published, or Kafka is not waited for."""
        await self.publisher.publish(AFTER_MESSAGES)

    async def send_rows(self, *items: logic_pb2.SendItem) -> list[logic_pb2.SendOutcome]:
        """The same as columns."""
        return outcomes_of(await self.rows.send(columns_of(items)))

    async def ask(self, user: str, op: str = "", **body: Message) -> client_pb2.ServerFrame:
        """One request of a client, in its present session."""
        [reply] = await self.ask_all((user, op, body))
        return reply

    async def ask_all(self, *asks: tuple[str, str, dict[str, Any]]) -> list[client_pb2.ServerFrame]:
        for user, _, _ in asks:
            self.storage.present.setdefault((user, "phone"), f"{user}-session")
        items = [
            logic_pb2.HandleItem(
                user=user,
                session=f"{user}-session",
                frame=client_pb2.ClientFrame(id=7, **body).SerializeToString(),
                op=op,
            )
            for user, op, body in asks
        ]
        outcomes = await self.dispatcher.handle(items)
        return [client_pb2.ServerFrame.FromString(outcome.frame) for outcome in outcomes]

    def parcels(self) -> list[tuple[str, delivery_pb2.Parcel]]:
        """(topic, parcel) of what is new."""
        return [
            (topic, delivery_pb2.Parcel.FromString(value))
            for topic in (TOPICS.deliver, TOPICS.broadcast)
            for value in self._new(topic)
        ]

    def pushes(self, kind: delivery_pb2.Push.Kind.ValueType = delivery_pb2.Push.MESSAGE) -> list[delivery_pb2.Push]:
        return [push for _, parcel in self.parcels() for push in all_pushes(parcel) if push.kind == kind]

    def events(self) -> list[events_pb2.Event]:
        return [events_pb2.Event.FromString(value) for value in self._new(TOPICS.events)]

    def _new(self, topic: str) -> list[bytes]:
        found: list[bytes] = []
        for number, partition in enumerate(self.broker.topic(topic)):
            seen = self._read.get((topic, number), 0)
            found += [record.value for record in partition.records[seen:]]
            self._read[topic, number] = len(partition.records)
        return found


@asynccontextmanager
async def logic(
    *,
    hooks: Hooks | None = None,
    health: Health | None = None,
    backlog_bytes_max: int = 1_000_000,
    token: str = TOKEN,
    storage: Any = None,
    own_profile: bool = True,
    reactor: Reactor | None = None,
    blocks: Blocks | None = None,
    clock: ManualClock | None = None,
) -> AsyncIterator[Logic]:
    """Everything up, in the order of the app. `storage`: another one than the fake. `blocks`: None: those there."""
    storage, broker, clock, health, peers, view = (
        storage or FakeStorage(),
        MemoryBroker(),
        clock or ManualClock(),
        health or Health(),
        FakePeers(),
        View(),
    )
    bus = MemoryBus(broker)
    await bus.ensure_topics([Topic(TOPICS.deliver, 2), Topic(TOPICS.broadcast, 1), Topic(TOPICS.events, 2)])
    client = StorageClient(storage, lambda slot: "storage-0", timeout_s=1, budget_s=2, batch_max=500)
    loader = GroupLoader(client, 10_000)
    events = EventEncoder("test", enabled=True)
    calls = ParcelCalls(peers, view.node)
    publisher = Publisher(
        bus,
        view,
        TOPICS,
        health,
        clock,
        calls,
        PublisherOptions(
            wait_s=5,
            lanes=2,
            waiting_max=100,
            backlog_bytes_max=backlog_bytes_max,
            parcel_bytes_max=500_000,
            probe_interval_s=0,
        ),
    )
    sessions = ClientSessions(
        client,
        publisher,
        view,
        view,
        peers,
        clock,
        SessionOptions(devices_max=3, evict_timeout_s=1, news_wait_s=0.05),
    )
    blocked, news = Blocks(client, clock), PeopleNews(publisher)
    receipts = ReceiptSender(loader, publisher, events, clock, interval_s=1.0, pending_max=1000)
    sender = MessageSender(
        client,
        loader,
        publisher,
        receipts,
        hooks,
        reactor or client,
        windows=ChangeWindows(edit_ms=60_000, recall_ms=120_000),
        content_bytes_max=1000,
        held_max=100,
        hook_patience_s=0.3,
        clock=clock,
    )
    join_requests = JoinRequests(client, loader, publisher, POLICY, interval_s=0)
    async with calls, publisher, receipts, sender, sessions, join_requests:
        cursors = CursorMarker(client, receipts, news)
        group_changes = GroupChanges(
            client, loader, publisher, POLICY, blocks=blocks or blocked, requests=join_requests, clock=clock
        )
        dispatcher = Dispatcher(
            InboxReader(client, page_bytes_max=PAGE_BYTES).handlers,
            HistoryReader(client, loader, page_bytes_max=PAGE_BYTES).handlers,
            ConversationLister(client, page_bytes_max=PAGE_BYTES).handlers,
            PresenceReader(client, blocked, view, clock).handlers,
            PreferenceSetter(client, news, clock).handlers,
            BlockHandler(client, news, clock).handlers,
            ProfileHandler(client, news, own_profile=own_profile).handlers,
            ReadersReader(client).handlers,
            MessageHider(client, loader, publisher).handlers,
            GroupReader(client, loader, POLICY, clock).handlers,
            GroupLists(client, loader, POLICY).handlers,
            ReactorsReader(client, loader).handlers,
            SessionGuard(client, group_changes.act).handlers,
            SessionGuard(client, Invitations(client, loader, POLICY).invite, "group.invite").handlers,
            cursors.handlers,
            absent.handlers(),
        )
        admin = Admin(
            client,
            sender,
            sessions,
            dispatcher,
            group_changes,
            view,
            peers,
            AdminOptions(token=token, content_bytes_max=1000, timeout_s=1),
        )
        yield Logic(
            storage,
            broker,
            bus,
            clock,
            health,
            peers,
            view,
            calls,
            publisher,
            receipts,
            sender,
            RowSender(sender, client, loader, publisher, receipts),
            Signals(loader, publisher, blocked, clock),
            StreamParts(loader, client, publisher, blocked, clock, content_bytes_max=1000),
            cursors,
            sessions,
            dispatcher,
            admin,
            loader,
        )


def message(
    sender: str, conversation: str, text: str, *, client_id: str = "", session: str = "s", **fields: Any
) -> logic_pb2.SendItem:
    return logic_pb2.SendItem(
        sender=sender,
        session=session,
        conversation=conversation,
        client_id=client_id or f"{sender}-{text}",
        content=client_pb2.Content(text=text).SerializeToString(),
        **fields,
    )


def columns_of(items: Sequence[logic_pb2.SendItem]) -> logic_pb2.SendColumns:
    """The items as an access node sends them; of what no row has, nothing."""
    return logic_pb2.SendColumns(
        senders=[item.sender for item in items],
        sessions=[item.session for item in items],
        conversations=[item.conversation for item in items],
        client_ids=[item.client_id for item in items],
        contents=[item.content for item in items],
        reply_tos=[item.reply_to for item in items] if any(item.reply_to for item in items) else (),
        accepted_ms=[item.accepted_ms for item in items],
        traces=[item.trace for item in items] if any(item.trace for item in items) else (),
        specials=[
            logic_pb2.SendColumns.SpecialRow(place=place, special=item.special)
            for place, item in enumerate(items)
            if item.HasField("special")
        ],
    )


def outcomes_of(sent: logic_pb2.SentColumns) -> list[logic_pb2.SendOutcome]:
    """The columns of an answer as outcomes."""
    outcomes = [
        logic_pb2.SendOutcome(seq=seq, time_ms=time_ms, number=number)
        for seq, time_ms, number in zip(sent.seqs, sent.times_ms, sent.numbers, strict=True)
    ]
    for each in sent.unusual:
        assert outcomes[each.place] == logic_pb2.SendOutcome(), "its places in the columns are 0"
        outcomes[each.place] = each.outcome
    return outcomes


def pushes_of(columns: delivery_pb2.MessageColumns) -> list[delivery_pb2.Push]:
    """The rows of a parcel as the pushes that they stand for."""
    users = iter(zip(columns.users, columns.numbers, strict=True))
    pushes: list[delivery_pb2.Push] = []
    for place, encoded in enumerate(columns.bodies):
        mine = list(islice(users, columns.user_counts[place]))
        message = client_pb2.Message()
        read_message(encoded, message)
        push = delivery_pb2.Push(
            kind=delivery_pb2.Push.MESSAGE,
            body=encoded,
            users=[user for user, _ in mine],
            numbers=[number for _, number in mine],
            conversation=message.conversation,
            except_session=columns.except_sessions[place] if columns.except_sessions else "",
            accepted_ms=columns.accepted_ms[place] if columns.accepted_ms else 0,
            trace=columns.traces[place] if columns.traces else "",
        )
        pushes.append(push)
    assert next(users, None) is None
    return pushes


def all_pushes(parcel: delivery_pb2.Parcel) -> list[delivery_pb2.Push]:
    """All that a parcel brings, in its order."""
    return [*pushes_of(parcel.messages), *parcel.pushes]


def body(push: delivery_pb2.Push) -> client_pb2.Message:
    return client_pb2.Message.FromString(push.body)


async def talk(node: Logic, conversation: str, sender: str, count: int) -> None:
    """So many messages, from "1" on."""
    await node.send(*[message(sender, conversation, str(number)) for number in range(1, count + 1)])
