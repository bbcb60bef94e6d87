"""The conversations that this node has to do with: its memory of them, and the one lane that writes to them.

    calls that store messages, messages, changes ──▶ the lane ──▶ turns (store_turn.py) ──▶ outcomes
    marks, loads, heads ──▶ from memory; what is not there is loaded in the lane first

Guarantees: conversations are loaded, written and changed in the lane only, in the order of offering.
Does not know: the wire, the ring (a node that is asked for what it does not own serves it all the same).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.storage.events.port import Feed, NoFeed
from services.storage.folding.hiders import Audience, hiders_among
from services.storage.folding.recalls import Recalls
from services.storage.folding.shown import target_key
from services.storage.folding.writer import FoldWriter
from services.storage.inboxes.fanout import InboxFanout
from services.storage.inboxes.writer import InboxWriter
from services.storage.limits import ENTRIES_MAX, Limits
from services.storage.loading import duplicates
from services.storage.loading.duplicates import RecentSends
from services.storage.loading.loader import ConversationLoader
from services.storage.memory.conversation import CachedConversation, CachedMember
from services.storage.memory.conversations import ConversationMemory
from services.storage.memory.stream_watch import StreamWatch
from services.storage.memory.write_behind import WriteBehind
from services.storage.messages.group_writer import GroupWriter
from services.storage.messages.jobs import OwnChange, OwnOutcome, stubs_among
from services.storage.messages.pacing import Pacing
from services.storage.messages.plain_turn import PlainPorts
from services.storage.messages.store_call import Rows, StoreCall
from services.storage.messages.store_turn import Forget, Outcome, StoreTurns, Touch, Work
from services.storage.messages.write_round import RoundPorts
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Repository
from services.storage.repository.records import ClientKey, StoredMessage
from tidings_protocol.errors import Overloaded, TidingsError

StoreItem = storage_pb2.StoreItem
StoreOutcome = storage_pb2.StoreOutcome
ChangeItem = storage_pb2.ChangeItem
ChangeOutcome = storage_pb2.ChangeOutcome

_LANE: Final = 0  # there is one
RETRY_MS = 200


class ConversationStore:
    def __init__(
        self,
        repository: Repository,
        inboxes: InboxWriter,
        fanout: InboxFanout,
        behind: WriteBehind,
        peers: StoragePeers,
        invalidation: OwnerInvalidation,
        clock: Clock,
        limits: Limits,
        feed: Feed | None = None,
        *,
        streams: StreamWatch,
        recalls: Recalls,
    ) -> None:
        """`feed`: of events; None: there are none. `streams`: who keeps an eye on streams, and has their texts.
        `recalls`: who hears of them.
        """
        self._repository = repository
        self._fanout = fanout
        self._clock = clock
        self.memory = ConversationMemory(peers.owner_of, behind, limits)
        self._recent = recent = RecentSends(limits.recent_sends_max)
        folds = FoldWriter(repository, keeps_history=limits.keeps_edit_history, recalls=recalls)
        self.loader = ConversationLoader(repository, fanout, recent, clock, folds, streams)
        self._plain = plain = PlainPorts(repository, inboxes, fanout, peers, recent, clock, self.memory.peek)
        groups = GroupWriter(repository, self.loader, clock)
        self._rounds = RoundPorts(
            repository,
            self.loader,
            groups,
            Pacing(repository.groups.paces),
            fanout,
            recent,
            clock,
            limits,
            folds,
            streams,
        )
        self._turns = turns = StoreTurns(self.memory, plain, self._rounds, invalidation, feed or NoFeed())
        # As many as `batch_max` rows or messages are in a turn.
        self._row_weight = ENTRIES_MAX // limits.batch_max
        self._rows = 0
        self._rows_max = limits.lane_capacity
        self.lanes: Lanes[Work, Outcome] = Lanes(
            "store",
            turns.handle,
            lanes=1,
            capacity=limits.lane_capacity,
            batch_max=limits.batch_max,
            weigh=self._weight_of,
            weight_max=ENTRIES_MAX,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lanes run until this is left, which handles what waits."""
        async with self.lanes:
            yield

    @property
    def cached(self) -> int:
        return len(self.memory)

    async def forget(self, ids: Collection[str]) -> None:
        """Forgets these, to which another node wrote: whatever comes after this loads them again. Raises the first
        failure.
        """
        for outcome in await self.lanes.submit_all([(_LANE, Forget(key)) for key in ids]):
            if isinstance(outcome, TidingsError):
                raise outcome

    async def store(self, items: Sequence[StoreItem]) -> list[StoreOutcome | TidingsError]:
        """Stores messages; outcomes are aligned with the items. An error is an item's own: Unavailable says that the
        message may be stored, Overloaded that it is not.

        If this is cancelled, the messages are stored all the same.
        """
        if any(item.only_look for item in items):
            return await self._look(items)
        outcomes = await self.lanes.submit_all([(_LANE, item) for item in items])
        return cast("list[StoreOutcome | TidingsError]", outcomes)

    async def store_rows(self, call: StoreCall) -> TidingsError | None:
        """Stores the rows of a call, which then holds what became of each. An error is that of all: Overloaded says
        that none is stored.

        If this is cancelled, the messages are stored all the same.
        """
        if self._rows and self._rows + len(call) > self._rows_max:
            return Overloaded("this node has too many messages to store: send again after the time given", RETRY_MS)
        self._rows += len(call)
        parts = call.parts(ENTRIES_MAX, self._row_weight)
        try:
            outcomes = await self.lanes.submit_all([(_LANE, part) for part in parts])
        finally:
            self._rows -= len(call)
        failed = [outcome for outcome in outcomes if isinstance(outcome, TidingsError)]
        if len(failed) == len(parts):
            return failed[0]
        for part, outcome in zip(parts, outcomes, strict=True):
            if isinstance(outcome, TidingsError):
                for place in part.places:
                    call.fail(place, outcome)
        return None

    async def make(self, changes: Sequence[OwnChange]) -> list[OwnOutcome | TidingsError]:
        """Stores CHANGEs that this node makes by itself; outcomes are aligned, errors as those of `store`.

        If this is cancelled, they are stored all the same.
        """
        outcomes = await self.lanes.submit_all([(_LANE, each) for each in changes])
        return cast("list[OwnOutcome | TidingsError]", outcomes)

    async def _look(self, items: Sequence[StoreItem]) -> list[StoreOutcome | TidingsError]:
        """Looks which of these are stored; a batch that looks stores nothing."""
        found = await self._repository.messages.find({duplicates.key_of(item) for item in items})
        conversations = await self.get({message.conversation for message in found.values()})
        if behind := duplicates.unsettled(found, conversations):
            await self.forget(behind)
            conversations |= await self.get(behind)
        outcomes = await duplicates.outcomes(items, found, conversations, self._fanout)
        await self._tell_repeats(items, found, outcomes)
        return [*outcomes]

    async def _tell_repeats(
        self, items: Sequence[StoreItem], found: Mapping[ClientKey, StoredMessage], outcomes: Sequence[StoreOutcome]
    ) -> None:
        """Puts into the outcomes of repeats what all are told of those that are not plain, and who gets a stub."""
        repeats = [
            (item, found[duplicates.key_of(item)], outcome)
            for item, outcome in zip(items, outcomes, strict=True)
            if outcome.status == StoreOutcome.DUPLICATE
        ]
        changes = {index: key for index, (_, first, _) in enumerate(repeats) if (key := target_key(first)) is not None}
        targets = await self._repository.messages.get(list(dict.fromkeys(changes.values()))) if changes else {}
        now_ms = self._clock.wall_ms()
        for index, (_, first, outcome) in enumerate(repeats):
            key = changes.get(index)
            duplicates.tell(outcome, first, targets.get(key) if key else None, now_ms)
        if changes:
            audiences = [Audience(key, repeats[index][0].recipients) for index, key in changes.items()]
            for index, hiders in zip(changes, await hiders_among(self._repository.hidden, audiences), strict=True):
                item, _, outcome = repeats[index]
                here = self.memory.peek(item.conversation)
                outcome.stubs.extend(stubs_among(Audience(changes[index], item.recipients), hiders, here))

    async def change(self, items: Sequence[ChangeItem]) -> list[ChangeOutcome | TidingsError]:
        """Makes changes of groups; outcomes are aligned with the items, errors as those of `store`.

        If this is cancelled, the changes are made all the same.
        """
        outcomes = await self.lanes.submit_all([(_LANE, item) for item in items])
        return cast("list[ChangeOutcome | TidingsError]", outcomes)

    async def get(self, ids: Collection[str]) -> dict[str, CachedConversation | TidingsError]:
        """These conversations by id, as they are now, loaded if they are not in memory; or why one cannot be had."""
        here, cold = self.memory.divide(ids)
        found: dict[str, CachedConversation | TidingsError] = {**here}
        outcomes = await self.lanes.submit_all([(_LANE, Touch(key)) for key in cold])
        for key, outcome in zip(cold, outcomes, strict=True):
            assert isinstance(outcome, CachedConversation | TidingsError)
            found[key] = outcome
        return found

    async def lookup(self, conversation: CachedConversation, users: Collection[str]) -> dict[str, CachedMember]:
        """Those of the users who are members, by user; read if they are not in memory. Raises Unavailable."""
        return await self.loader.documents.lookup(conversation, users)

    def _weight_of(self, work: Work) -> int:
        """How heavy the work is in a turn: by its inbox entries, and by its rows, of which a turn takes `batch_max`."""
        if isinstance(work, Rows):
            return work.weight
        if isinstance(work, OwnChange):
            known = self.memory.peek(work.conversation)
            return max(len(known.members) if known is not None and known.knows_all else 0, self._row_weight)
        if isinstance(work, StoreItem):
            return max(len(work.recipients), self._row_weight)
        return sum(len(notice.recipients) for notice in work.notices) if isinstance(work, ChangeItem) else 0
