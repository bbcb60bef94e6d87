"""The conversations that this node has to do with: its memory of them, and the lanes that write to them.

    messages, changes ──▶ lane of the conversation ──▶ rounds (write_round.py) ──▶ outcomes
    marks, loads, heads ──▶ from memory; what is not there is loaded in the lane first

A batch of a lane is done in rounds: a round holds the messages of many conversations, and of each at most one change,
which is the last there. So what comes after a change is decided on what the change made.

Guarantees: one conversation is loaded, written and changed by one lane only, in the order of offering.
Does not know: the wire, the ring (a node that is asked for what it does not own serves it all the same).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.common.telemetry import metrics, tracing
from services.storage.inboxes.fanout import InboxFanout
from services.storage.limits import ENTRIES_MAX, OVERLAP_MIN, Limits
from services.storage.memory.cache import Cache
from services.storage.memory.conversation import CachedConversation, CachedMember
from services.storage.memory.write_behind import WriteBehind
from services.storage.messages import duplicates
from services.storage.messages.group_writer import GroupWriter
from services.storage.messages.loader import ConversationLoader
from services.storage.messages.write_round import RoundPorts, WriteRound
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Repository
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import SLOTS, ConversationKind, check_conversation, hash64, slot_of

StoreItem = storage_pb2.StoreItem
StoreOutcome = storage_pb2.StoreOutcome
ChangeItem = storage_pb2.ChangeItem
ChangeOutcome = storage_pb2.ChangeOutcome


@dataclass(frozen=True, slots=True)
class Touch:
    """Asks that this conversation is in memory."""

    conversation: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Asks that this conversation is loaded again: another node wrote to it."""

    conversation: str


Work = StoreItem | ChangeItem | Touch | Forget
Outcome = StoreOutcome | ChangeOutcome | CachedConversation


class ConversationStore:
    def __init__(
        self,
        repository: Repository,
        fanout: InboxFanout,
        behind: WriteBehind,
        peers: StoragePeers,
        invalidation: OwnerInvalidation,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._repository = repository
        self._fanout = fanout
        self._invalidation = invalidation
        self._behind = behind
        self._peers = peers
        self._recent = recent = duplicates.RecentSends(limits.recent_sends_max)
        self._cache: Cache[CachedConversation] = Cache(
            limits.cached_members_max, lambda each: each.weight, lambda each: each.is_dirty
        )
        self.loader = ConversationLoader(repository, fanout, recent, clock)
        self._ports = RoundPorts(
            repository, self.loader, GroupWriter(repository, self.loader, clock), fanout, recent, clock, limits
        )
        self.lanes: Lanes[Work, Outcome] = Lanes(
            "store",
            self._handle,
            lanes=limits.store_lanes,
            capacity=limits.lane_capacity,
            batch_max=limits.batch_max,
            overlap_min=OVERLAP_MIN,
            weigh=_entries_of,
            weight_max=ENTRIES_MAX,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lanes run until this is left, which handles what waits."""
        async with self.lanes:
            yield

    @property
    def cached(self) -> int:
        return len(self._cache)

    def peek(self, conversation: str) -> CachedConversation | None:
        """The conversation, if it is in memory and this node owns it: to what another one owns, others write."""
        found = self._cache.get(conversation)
        if found is not None and not self.is_owner(conversation):
            self._cache.drop(conversation)
            return None
        return found

    def is_owner(self, conversation: str) -> bool:
        """Whether this node owns the conversation: in the normal case only its owner writes to it."""
        return self._peers.owner_of(slot_of(conversation)) is None

    def drop_slots(self, slots: frozenset[int]) -> None:
        """Forgets the conversations in these slots: others may have written to them."""
        self._cache.drop_slots(slots)

    async def forget(self, ids: Collection[str]) -> None:
        """Forgets these, to which another node wrote: whatever comes after this loads them again. Raises the first
        failure.
        """
        for outcome in await self.lanes.submit_all([(_lane_of(key), Forget(key)) for key in ids]):
            if isinstance(outcome, TidingsError):
                raise outcome

    async def store(self, items: Sequence[StoreItem]) -> list[StoreOutcome | TidingsError]:
        """Stores messages; outcomes are aligned with the items. An error is an item's own: Unavailable says that the
        message may be stored, Overloaded that it is not.

        If this is cancelled, the messages are stored all the same.
        """
        if any(item.only_look for item in items):
            return await self._look(items)
        outcomes = await self.lanes.submit_all([(_lane_of(item.conversation), item) for item in items])
        return cast("list[StoreOutcome | TidingsError]", outcomes)

    async def _look(self, items: Sequence[StoreItem]) -> list[StoreOutcome | TidingsError]:
        """Looks which of these are stored; a batch that looks stores nothing."""
        found = await self._repository.messages.find({duplicates.key_of(item) for item in items})
        conversations = await self.get({message.conversation for message in found.values()})
        if behind := duplicates.unsettled(found, conversations):
            await self.forget(behind)
            conversations |= await self.get(behind)
        return [*await duplicates.outcomes(items, found, conversations, self._fanout)]

    async def change(self, items: Sequence[ChangeItem]) -> list[ChangeOutcome | TidingsError]:
        """Makes changes of groups; outcomes are aligned with the items, errors as those of `store`.

        If this is cancelled, the changes are made all the same.
        """
        outcomes = await self.lanes.submit_all([(_lane_of(item.conversation), item) for item in items])
        return cast("list[ChangeOutcome | TidingsError]", outcomes)

    async def get(self, ids: Collection[str]) -> dict[str, CachedConversation | TidingsError]:
        """These conversations by id, as they are now, loaded if they are not in memory; or why one cannot be had."""
        found: dict[str, CachedConversation | TidingsError] = {}
        cold: list[str] = []
        for key in dict.fromkeys(ids):
            conversation = self.peek(key)
            if conversation is None:
                cold.append(key)
            else:
                found[key] = conversation
        outcomes = await self.lanes.submit_all([(_lane_of(key), Touch(key)) for key in cold])
        for key, outcome in zip(cold, outcomes, strict=True):
            assert isinstance(outcome, CachedConversation | TidingsError)
            found[key] = outcome
        return found

    async def lookup(self, conversation: CachedConversation, users: Collection[str]) -> dict[str, CachedMember]:
        """Those of the users who are members, by user; read if they are not in memory. Raises Unavailable."""
        return await self.loader.documents.lookup(conversation, users)

    async def _handle(self, batch: list[Work]) -> list[Outcome | TidingsError]:
        outcomes: list[Outcome | TidingsError | None] = [None] * len(batch)
        for item in batch:
            if isinstance(item, Forget):
                self._cache.drop(item.conversation)
        indexes = list(range(len(batch)))
        traces = (item.trace for item in batch if isinstance(item, StoreItem))
        with tracing.batch("store", traces, items=len(batch)):
            while indexes:
                indexes = await self._round(batch, indexes, outcomes)
        if self._cache.is_over:
            await self._behind.flush()
            self._cache.shrink()
        return [outcome if outcome is not None else _forgotten() for outcome in outcomes]

    async def _round(
        self, batch: Sequence[Work], indexes: Sequence[int], outcomes: list[Outcome | TidingsError | None]
    ) -> list[int]:
        """Does what can be done in one round; the indexes of what is left."""
        loaded = await self._load({batch[index].conversation for index in indexes})
        work = WriteRound(self._ports)
        left: list[int] = []
        for index in indexes:
            item = batch[index]
            conversation = loaded[item.conversation]
            if isinstance(conversation, TidingsError) or isinstance(item, Touch | Forget):
                outcomes[index] = conversation
            elif not work.add(index, item, conversation):
                left.append(index)
        if work:
            await self._run(work, outcomes)
        return left

    async def _run(self, work: WriteRound, outcomes: list[Outcome | TidingsError | None]) -> None:
        """Runs the round, and does to memory what its result says before anybody has an outcome."""
        self._invalidation.wrote_conversations(work.conversations)
        try:
            result = await work.run()
        except BaseException:
            # Cancelled, or a defect: nobody knows what was done.
            for key in work.conversations:
                self._cache.drop(key)
            raise
        for conversation in result.kept.values():
            self._keep(conversation)
        for key in result.dropped:
            self._cache.drop(key)
        for conversation in result.dirty:
            self._behind.conversation(conversation)
        for index, outcome in result.outcomes.items():
            outcomes[index] = outcome

    async def _load(self, ids: set[str]) -> dict[str, CachedConversation | TidingsError]:
        loaded: dict[str, CachedConversation | TidingsError] = {}
        cold: list[str] = []
        for key in ids:
            conversation = self.peek(key)
            if conversation is None:
                cold.append(key)
            else:
                loaded[key] = conversation
        for key in tuple(cold):
            try:
                check_conversation(key)
            except TidingsError as error:
                loaded[key] = error
                cold.remove(key)
        if not cold:
            return loaded
        try:
            found = await self.loader.load(cold)
        except TidingsError as error:
            return {**loaded, **dict.fromkeys(cold, error)}
        for each in found.values():
            if isinstance(each, CachedConversation):
                self._keep(each)
        metrics.CONVERSATIONS_CACHED.set(len(self._cache))
        return {**loaded, **found}

    def _keep(self, conversation: CachedConversation) -> None:
        if not conversation.exists and conversation.kind is ConversationKind.GROUP:
            return  # that a group does not exist is not remembered: another node may be about to create it
        before = self._cache.peek(conversation.id)
        if before is not None and before is not conversation:
            # It was loaded again while the one before was still marked.
            conversation.take_over(before)
        self._cache.put(conversation.id, conversation)
        self._behind.conversation(conversation)


def _lane_of(conversation: str) -> int:
    # The slot has chosen the node: the rest of the hash chooses the lane.
    return hash64(conversation) // SLOTS


def _entries_of(work: Work) -> int:
    """How many inbox entries the item makes."""
    if isinstance(work, StoreItem):
        return len(work.recipients)
    return sum(len(notice.recipients) for notice in work.notices) if isinstance(work, ChangeItem) else 0


def _forgotten() -> TidingsError:
    return Unavailable("this was not done: try again")
