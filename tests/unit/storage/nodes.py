"""Storage nodes on the twin in memory, for tests: one, or several that know each other, on one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from protos.tidings.internal.v1 import common_pb2, logic_pb2
from protos.tidings.internal.v1 import storage_pb2 as pb
from protos.tidings.v1 import events_pb2
from services.common.bus.contract import Topic
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.clock import ManualClock
from services.common.telemetry.health import Health
from services.storage.limits import ENTRIES_MAX, Limits
from services.storage.messages.store_call import Rows, StoreCall
from services.storage.node import Storage
from services.storage.repository.memory import Database, Faults
from services.storage.rpc import StorageServicer
from services.storage.telling.port import Teller
from services.storage.upkeep.retention import RetentionPolicy
from services.storage.wiring import EventStream, open_storage
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import direct

EVENTS = "tidings.events"
NO_CONTEXT = cast("Any", None)


@dataclass(slots=True)
class Neighbourhood:
    """Who owns what, as all nodes see it; "": each of them thinks that it does."""

    owner_of: Callable[[int], str]
    nodes: dict[str, StorageServicer] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    boots: frozenset[str] | None = None


class FakePeers:
    """One node's view."""

    def __init__(self, hood: Neighbourhood, name: str) -> None:
        self._hood = hood
        self._name = name

    def owner_of(self, slot: int) -> str | None:
        owner = self._hood.owner_of(slot)
        return owner if owner not in {"", self._name} else None

    async def append(self, owner: str, batch: pb.AppendBatch) -> pb.AppendOutcomes:
        return await self._at(owner).Append(batch, NO_CONTEXT)

    async def load(self, owner: str, batch: pb.LoadBatch) -> pb.LoadOutcomes:
        return await self._at(owner).Load(batch, NO_CONTEXT)

    async def heads(self, owner: str, batch: pb.KeyBatch) -> pb.HeadOutcomes:
        return await self._at(owner).ConversationHeads(batch, NO_CONTEXT)

    async def forget(self, owner: str, batch: pb.ForgetBatch) -> None:
        await self._at(owner).Forget(batch, NO_CONTEXT)

    def live_boots(self) -> frozenset[str] | None:
        return self._hood.boots

    def _at(self, owner: str) -> StorageServicer:
        if owner in self._hood.unreachable or owner not in self._hood.nodes:
            raise Unavailable(f"{owner} does not answer")
        return self._hood.nodes[owner]


@dataclass(frozen=True, slots=True)
class FakeTeller:
    """Takes down what logic would tell."""

    items: list[logic_pb2.TellItem]

    def tell(self, items: Sequence[logic_pb2.TellItem]) -> None:
        self.items.extend(items)


@dataclass(slots=True)
class World:
    """A database, a clock that it shares with the nodes until it is given its own, and the nodes that a test starts on
    them.
    """

    database: Database = field(default_factory=Database)
    clock: ManualClock = field(default_factory=ManualClock)
    hood: Neighbourhood = field(default_factory=lambda: Neighbourhood(lambda _: "one"))
    limits: Limits = field(default_factory=lambda: Limits(flush_interval_s=1e6))
    broker: MemoryBroker | None = None  # None: the nodes publish no events
    buses: dict[str, MemoryBus] = field(default_factory=dict)
    events_bytes_max: int = 1_000_000
    told_by: dict[str, list[logic_pb2.TellItem]] = field(default_factory=dict)  # by node: what it had logic tell

    def __post_init__(self) -> None:
        self.database.clock = self.clock
        if self.broker is not None:
            self.broker.ensure(Topic(EVENTS, 1))

    @asynccontextmanager
    async def node(
        self,
        name: str = "one",
        *,
        faults: Faults | None = None,
        policy: RetentionPolicy | None = None,
        teller: Teller | None = None,
    ) -> AsyncIterator[Storage]:
        """A node that is drained when it is left."""
        repository = self.database.repository(faults)
        peers = FakePeers(self.hood, name)
        async with open_storage(
            repository,
            peers,
            self.clock,
            self.limits,
            policy=policy,
            sweep_interval_s=1e6,
            events=self._events(name, last_try_s=0.0 if faults else 60.0),
            teller=teller or FakeTeller(self.told_by.setdefault(name, [])),
        ) as node:
            self.hood.nodes[name] = StorageServicer(node)
            try:
                yield node
            finally:
                self.hood.nodes.pop(name, None)

    def _events(self, name: str, last_try_s: float) -> EventStream | None:
        if self.broker is None:
            return None
        bus = self.buses[name] = MemoryBus(self.broker)
        return EventStream(
            bus, EVENTS, "here", Health(), self.events_bytes_max, gather_s=0.0, retry_s=0.0, last_try_s=last_try_s
        )

    def told(self) -> list[events_pb2.Event]:
        """All events that were published until now, in their order."""
        assert self.broker is not None
        return [
            events_pb2.Event.FromString(record.value)
            for partition in self.broker.topic(EVENTS)
            for record in partition.records
        ]

    def seqs(self, conversation: str) -> list[int]:
        """The seqs of the messages of this conversation that were told, in their order."""
        return [
            each.message.seq for each in self.told() if each.conversation == conversation and each.HasField("message")
        ]

    async def crashed(self, stack: AsyncExitStack, name: str = "one") -> Storage:
        """A node that will never write what it held back, nor publish an event: as after kill -9."""
        faults = Faults()
        node = await stack.enter_async_context(self.node(name, faults=faults))
        stack.callback(setattr, faults, "away", True)
        if self.broker is not None:
            self.buses[name].cut()
        return node


def send(sender: str, peer: str, client_id: str, text: str = "hello", *, reply_to: int = 0) -> pb.StoreItem:
    """A direct message as logic hands it over."""
    recipients = list(dict.fromkeys((sender, peer)))
    return pb.StoreItem(
        conversation=direct(sender, peer),
        sender=sender,
        client_id=client_id,
        content=content_of(text),
        kind=client_pb2.Message.NORMAL,
        recipients=recipients,
        reply_to=reply_to,
    )


def post(
    group: str, sender: str, client_id: str, version: int, recipients: Sequence[str] = (), text: str = "hello"
) -> pb.StoreItem:
    """A message to a group, decided on that version."""
    return pb.StoreItem(
        conversation=group,
        sender=sender,
        client_id=client_id,
        content=content_of(text),
        kind=client_pb2.Message.NORMAL,
        version=version,
        recipients=recipients,
    )


def react(
    conversation: str,
    seq: int,
    user: str,
    reaction: str = "+",
    *,
    removes: bool = False,
    client_id: str = "",
    version: int = 0,
    recipients: Sequence[str] = (),
    first_seq: int = 0,
) -> pb.StoreItem:
    """A reaction as logic hands it over; without a client id it is one of many by this user."""
    change = client_pb2.Change(seq=seq)
    if removes:
        change.unreact = reaction
    else:
        change.react = reaction
    return pb.StoreItem(
        conversation=conversation,
        sender=user,
        client_id=client_id or f"{user} {reaction} {removes} {seq}",
        kind=client_pb2.Message.CHANGE,
        version=version,
        recipients=recipients,
        special=common_pb2.Special(change=change.SerializeToString()),
        rights=pb.ActorRights(first_seq=first_seq),
    )


def recall(conversation: str, seq: int, user: str, recipients: Sequence[str], client_id: str = "r") -> pb.StoreItem:
    """A recall as logic hands it over."""
    change = client_pb2.Change(seq=seq, recall=client_pb2.Change.Recall())
    return pb.StoreItem(
        conversation=conversation,
        sender=user,
        client_id=client_id,
        kind=client_pb2.Message.CHANGE,
        recipients=recipients,
        special=common_pb2.Special(change=change.SerializeToString()),
        rights=pb.ActorRights(),
    )


def create(group: str, owner: str, *others: str, op: str = "create", large: bool = False) -> pb.ChangeItem:
    """A group comes into being."""
    users = (owner, *others)
    return pb.ChangeItem(
        conversation=group,
        op=op,
        actor=owner,
        settings=pb.ConversationRecord(name="friends", open=True),
        set=[pb.MemberRecord(user=user, role=3 if user == owner else 1) for user in users],
        notices=[pb.ChangeItem.Notice(content=content_of("create"), recipients=() if large else users)],
        becomes_large=large,
    )


def change(
    group: str,
    actor: str,
    op: str,
    version: int,
    *,
    joins: Sequence[str] = (),
    removed: Sequence[str] = (),
    roles: Sequence[tuple[str, int]] = (),
    notices: Sequence[Sequence[str]] = (),
    becomes_large: bool = False,
    keep_version: bool = False,
    name: str = "friends",
) -> pb.ChangeItem:
    """A change of a group; `notices` are the recipients of each."""
    return pb.ChangeItem(
        conversation=group,
        op=op,
        actor=actor,
        version=version,
        settings=pb.ConversationRecord(name=name, open=True),
        set=[
            *(pb.MemberRecord(user=user, role=1) for user in joins),
            *(pb.MemberRecord(user=user, role=role, joined_seq=1, joined_ms=1) for user, role in roles),
        ],
        removed=removed,
        notices=[
            pb.ChangeItem.Notice(content=content_of(f"{op} {index}"), recipients=recipients)
            for index, recipients in enumerate(notices)
        ],
        becomes_large=becomes_large,
        keep_version=keep_version,
    )


def content_of(text: str) -> bytes:
    return client_pb2.Content(text=text).SerializeToString()


async def quiet(node: Storage) -> None:
    """Returns when all that came to the feed until now is told."""
    assert node.heartbeats is not None
    queue = node.heartbeats.queue
    mark = queue.mark
    while not queue.is_told(mark):  # noqa: ASYNC110 - the twins answer within a few turns of the loop
        await asyncio.sleep(0)


async def stored(node: Storage, *items: pb.StoreItem) -> list[pb.StoreOutcome]:
    """The outcomes; a failure is raised."""
    outcomes: list[pb.StoreOutcome] = []
    for outcome in await node.conversations.store(items):
        if isinstance(outcome, TidingsError):
            raise outcome
        outcomes.append(outcome)
    return outcomes


async def changed(node: Storage, item: pb.ChangeItem) -> pb.ChangeOutcome:
    (outcome,) = await node.conversations.change([item])
    if isinstance(outcome, TidingsError):
        raise outcome
    return outcome


async def members_of(node: Storage, group: str) -> dict[str, pb.MemberRecord]:
    (loaded,) = await node.loads.load([pb.LoadItem(conversation=group)])
    return {member.user: member for member in loaded.members}


async def inbox_of(node: Storage, user: str) -> list[tuple[int, str, int]]:
    """(number, conversation, seq) of all entries."""
    (page,) = await node.pages.inbox([pb.InboxItem(user=user, limit=500)])
    found = []
    for entry in page.entries:
        message = client_pb2.Message.FromString(entry.message)
        found.append((entry.number, message.conversation, message.seq))
    return found


def columns_of(items: Sequence[pb.StoreItem]) -> pb.StoreColumns:
    """The items as the rows of one call."""
    return pb.StoreColumns(
        conversations=[item.conversation for item in items],
        senders=[item.sender for item in items],
        client_ids=[item.client_id for item in items],
        contents=[item.content for item in items],
        kinds=[item.kind for item in items],
        versions=[item.version for item in items],
        recipient_counts=[len(item.recipients) for item in items],
        recipients=[user for item in items for user in item.recipients],
        reply_tos=[item.reply_to for item in items],
        traces=[item.trace for item in items],
    )


def rows_of(items: Sequence[pb.StoreItem]) -> Rows:
    """The items as the rows of one call, for one turn."""
    [rows] = StoreCall(columns_of(items)).parts(ENTRIES_MAX, 1)
    return rows


def outcomes_of(items: Sequence[pb.StoreItem], told: pb.StoredColumns) -> list[pb.StoreOutcome]:
    """What the columns say of each of the items."""
    unusual = {each.place: each.outcome for each in told.unusual}
    outcomes: list[pb.StoreOutcome] = []
    start = 0
    for place, item in enumerate(items):
        end = start + len(item.recipients)
        outcomes.append(
            unusual.get(place)
            or pb.StoreOutcome(
                seq=told.seqs[place],
                time_ms=told.times_ms[place],
                numbers=told.numbers[start:end],
                read_over=place in told.read_over,
            )
        )
        start = end
    return outcomes


async def stored_rows(node: Storage, *items: pb.StoreItem) -> list[pb.StoreOutcome]:
    """Stores the items as the rows of one call."""
    call = StoreCall(columns_of(items))
    failure = await node.conversations.store_rows(call)
    if failure is not None:
        raise failure
    return outcomes_of(items, call.answer())
