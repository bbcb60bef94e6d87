"""Storage nodes on the twin in memory, for tests: one, or several that know each other, on one database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import ManualClock
from services.storage.limits import Limits
from services.storage.messages.store_call import StoreCall
from services.storage.node import Storage
from services.storage.repository.memory import Database, Faults
from services.storage.rpc import StorageServicer
from services.storage.upkeep.retention import RetentionPolicy
from services.storage.wiring import open_storage
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import direct

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


@dataclass(slots=True)
class World:
    """A database, a clock that it shares with the nodes until it is given its own, and the nodes that a test starts on
    them.
    """

    database: Database = field(default_factory=Database)
    clock: ManualClock = field(default_factory=ManualClock)
    hood: Neighbourhood = field(default_factory=lambda: Neighbourhood(lambda _: "one"))
    limits: Limits = field(default_factory=lambda: Limits(flush_interval_s=1e6))

    def __post_init__(self) -> None:
        self.database.clock = self.clock

    @asynccontextmanager
    async def node(
        self, name: str = "one", *, faults: Faults | None = None, policy: RetentionPolicy | None = None
    ) -> AsyncIterator[Storage]:
        """A node that is drained when it is left."""
        repository = self.database.repository(faults)
        peers = FakePeers(self.hood, name)
        async with open_storage(
            repository, peers, self.clock, self.limits, policy=policy, sweep_interval_s=1e6
        ) as node:
            self.hood.nodes[name] = StorageServicer(node)
            try:
                yield node
            finally:
                self.hood.nodes.pop(name, None)

    async def crashed(self, stack: AsyncExitStack, name: str = "one") -> Storage:
        """A node that will never write what it held back: as after kill -9."""
        faults = Faults()
        node = await stack.enter_async_context(self.node(name, faults=faults))
        stack.callback(setattr, faults, "away", True)
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
    call = await node.conversations.store_rows(StoreCall(columns_of(items)))
    if isinstance(call, TidingsError):
        raise call
    return outcomes_of(items, call.answer())
