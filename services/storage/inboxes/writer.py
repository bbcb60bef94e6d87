"""Inboxes of the users: the owner's memory of them, and the lanes that write their entries.

    appends ──▶ lane of the user ──▶ number (numbering.py) ──▶ one ordered insert for the whole batch

Guarantees: entries of one user get their numbers in the order in which they were offered; an entry that has a number in
the repository is given the same number again, however long ago that was (look_back.py). After a conflict or an unknown
outcome what is there is read before anything else is written.
Does not know: which node owns a user (fanout.py), what a message is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.common.telemetry import metrics
from services.storage.inboxes.look_back import DAY_MS, LookBack
from services.storage.inboxes.numbering import Append, CachedInbox, InboxPlan
from services.storage.limits import INSERT_MAX, READ_MAX, TRIES_MAX, Limits
from services.storage.memory.cache import Cache
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Repository
from services.storage.repository.records import Span
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import SLOTS, hash64

Number = int | TidingsError


@dataclass(frozen=True, slots=True)
class InboxWork:
    """What one item of an inbox lane asks for: these appends, these users in memory, these forgotten first."""

    appends: Sequence[Append] = ()
    users: Sequence[str] = field(default=())
    forgotten: Sequence[str] = field(default=())


class Seen(NamedTuple):
    """A device of this user says that it has the inbox up to this number."""

    user: str
    number: int


class InboxWriter:
    """The inboxes that this node has to do with: its own users', and for a while others'."""

    def __init__(
        self,
        repository: Repository,
        peers: StoragePeers,
        invalidation: OwnerInvalidation,
        clock: Clock,
        limits: Limits,
        *,
        kept_ms: int = DAY_MS,
    ) -> None:
        """`kept_ms`: retention removes no entry of a message that is younger."""
        self._repository = repository
        self._peers = peers
        self._invalidation = invalidation
        self._clock = clock
        self._look_back = LookBack(repository, clock, kept_ms)
        self._limits = limits
        self._cache: Cache[CachedInbox] = Cache(limits.cached_entries_max, attrgetter("weight"))
        # Held from the choice of numbers until memory knows what became of them: the lanes and the plain turns of
        # messages (plain_turn.py) number the same inboxes. Inboxes are read with it, so that none is kept without an
        # entry that was on its way.
        self.numbering = asyncio.Lock()
        self.lanes: Lanes[InboxWork, list[Number]] = Lanes(
            "inbox",
            self._handle,
            lanes=limits.inbox_lanes,
            capacity=limits.lane_capacity,
            batch_max=max(1, limits.batch_max // 16),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lanes run until this is left, which handles what waits."""
        async with self.lanes:
            yield

    @property
    def cached(self) -> int:
        return len(self._cache)

    def peek(self, user: str) -> CachedInbox | None:
        """The inbox, if it is in memory and this node owns it: to what another one owns, others write."""
        inbox = self._cache.get(user)
        if inbox is not None and self._peers.owner_of(inbox.slot) is not None:
            self._cache.drop(user)
            return None
        return inbox

    def drop_slots(self, slots: frozenset[int]) -> None:
        """Forgets the inboxes in these slots: others may have written to them."""
        self._cache.drop_slots(slots)

    def wrote(self, inboxes: Iterable[CachedInbox]) -> None:
        """Entries went into these inboxes, which were in memory. Another node may own by now what is not any more: it
        is told.
        """
        peek = self._cache.peek
        self._invalidation.wrote_inboxes([inbox.user for inbox in inboxes if peek(inbox.user) is not inbox])

    def doubt(self, users: Collection[str]) -> None:
        """Perhaps entries went into these inboxes: they are forgotten, also by another node that owns one by now."""
        for user in users:
            self._cache.drop(user)
        self._invalidation.wrote_inboxes(users)

    async def forget(self, users: Iterable[str]) -> None:
        """Forgets these inboxes, to which another node wrote: whatever comes after this reads them again. Raises the
        first failure.
        """
        for failure in (await self._forget(users)).values():
            raise failure

    async def append(self, appends: Sequence[Append]) -> list[Number]:
        """Appends entries here. The number of each, aligned, or why there is none; 0 for what was only looked for in
        vain.

        If this is cancelled, the entries are written all the same.
        """
        numbers: list[Number] = [0] * len(appends)
        groups: dict[int, list[int]] = {}
        for index, append in enumerate(appends):
            groups.setdefault(self._lane_of(append.user), []).append(index)
        parts = [
            (lane, indexes[start : start + INSERT_MAX])
            for lane, indexes in groups.items()
            for start in range(0, len(indexes), INSERT_MAX)
        ]
        works = [(lane, InboxWork([appends[index] for index in indexes])) for lane, indexes in parts]
        outcomes = await self.lanes.submit_all(works)
        for (_, indexes), outcome in zip(parts, outcomes, strict=True):
            for position, index in enumerate(indexes):
                numbers[index] = outcome if isinstance(outcome, TidingsError) else outcome[position]
        self._invalidation.wrote_inboxes(dict.fromkeys(append.user for append in appends if not append.only_look))
        return numbers

    async def touch(self, users: Iterable[str], seen: Iterable[Seen] = ()) -> dict[str, CachedInbox | TidingsError]:
        """The inbox of each of these users, read if need be, or why it cannot be had: Unavailable or Overloaded.

        If memory ends before a number that was `seen`, another node has written there and could not tell yet, so that
        inbox is read again.
        """
        users = list(dict.fromkeys(users))
        behind = {user for user, number in seen if (inbox := self._cache.get(user)) is not None and inbox.head < number}
        found: dict[str, CachedInbox | TidingsError] = {**await self._forget(behind)} if behind else {}
        cold: dict[int, list[str]] = {}
        for user in users:
            if user in found:
                continue
            inbox = self.peek(user)
            if inbox is None:
                cold.setdefault(self._lane_of(user), []).append(user)
            else:
                found[user] = inbox
        outcomes = await self.lanes.submit_all([(lane, InboxWork((), part)) for lane, part in cold.items()])
        for part, outcome in zip(cold.values(), outcomes, strict=True):
            for user in part:
                found[user] = outcome if isinstance(outcome, TidingsError) else self._cache.get(user) or _moving()
        return found

    async def _forget(self, users: Iterable[str]) -> dict[str, TidingsError]:
        """Forgets these inboxes; by user, why one could not be forgotten."""
        users = list(users)
        works = [(self._lane_of(user), InboxWork(forgotten=[user])) for user in users]
        outcomes = zip(users, await self.lanes.submit_all(works), strict=True)
        return {user: outcome for user, outcome in outcomes if isinstance(outcome, TidingsError)}

    def _lane_of(self, user: str) -> int:
        # The slot has chosen the node: the rest of the hash chooses the lane.
        return hash64(user) // SLOTS % self._limits.inbox_lanes

    async def _handle(self, batch: list[InboxWork]) -> list[list[Number] | TidingsError]:
        for work in batch:
            for user in work.forgotten:
                self._cache.drop(user)
        appends = [append for work in batch for append in work.appends]
        users = dict.fromkeys(append.user for append in appends)
        users.update(dict.fromkeys(user for work in batch for user in work.users))
        inboxes = await self._load(users)
        numbers: list[Number] = list(await self._place(appends, inboxes))
        outcomes: list[list[Number] | TidingsError] = []
        start = 0
        for work in batch:
            outcomes.append(numbers[start : start + len(work.appends)])
            start += len(work.appends)
        return outcomes

    async def _load(self, users: Iterable[str]) -> dict[str, CachedInbox]:
        """These inboxes by user; those that are not in memory are read with one command."""
        inboxes: dict[str, CachedInbox] = {}
        cold: list[str] = []
        for user in users:
            inbox = self._cache.get(user)
            if inbox is None:
                cold.append(user)
            else:
                inboxes[user] = inbox
        if cold:
            async with self.numbering:
                inboxes.update(await self._read(cold))
            metrics.USERS_CACHED.set(len(self._cache))
        return inboxes

    async def _read(self, users: Sequence[str]) -> dict[str, CachedInbox]:
        inboxes: dict[str, CachedInbox] = {}
        tail = self._limits.inbox_tail // 2
        pages = await self._repository.inboxes.pages([Span(user, limit=tail, descending=True) for user in users])
        for user, page in zip(users, pages, strict=True):
            inbox = inboxes[user] = CachedInbox(user, self._limits.inbox_tail)
            inbox.extend(reversed(page))
            self._cache.put(user, inbox)
        return inboxes

    async def _place(self, appends: Sequence[Append], inboxes: dict[str, CachedInbox]) -> list[Number]:
        if not appends:
            return []
        plan = InboxPlan(appends, inboxes.__getitem__)
        deadline = self._clock.now_s() + self._limits.store_budget_s
        failure: TidingsError | None = None
        try:
            await self._look_back.find(plan, appends, inboxes)
            await self._insert(plan, inboxes, deadline)
            plan.finish()
        except TidingsError as error:
            failure = error
            for index in plan.open:
                self._cache.drop(appends[index].user)
        written = sum(1 for number in plan.numbers if number)
        metrics.INBOX_ENTRIES.inc(written)
        if failure is None:
            return list(plan.numbers)
        open_ = set(plan.open)
        return [failure if index in open_ else number for index, number in enumerate(plan.numbers)]

    async def _insert(self, plan: InboxPlan, inboxes: dict[str, CachedInbox], deadline: float) -> None:
        for _ in range(TRIES_MAX):
            async with self.numbering:
                doubtful = await self._try(plan, deadline)
            if doubtful is None:
                return
            await self._read_on(plan, [inboxes[user] for user in doubtful])
        if plan.next_entries():
            raise Unavailable("too many writers of one inbox: try again")

    async def _try(self, plan: InboxPlan, deadline: float) -> Collection[str] | None:
        """Inserts what is open. The users of whom must be read what is there before anything else is written; None:
        nothing is open.
        """
        entries = plan.next_entries()
        if not entries:
            return None
        try:
            inserted = await self._repository.inboxes.insert(entries)
        except Unavailable:
            # Whether it was done is unknown.
            if self._clock.now_s() >= deadline:
                raise
            return dict.fromkeys(each.user for each in entries)
        plan.committed(inserted.done)
        if inserted.conflict is None:
            return ()  # but for those that were in the batch twice, all is done
        metrics.FENCED.inc()
        # Who wrote to one of them has most likely written to the others: all are read with one command, so that two
        # owners who do not hear each other need two tries, not one for each user.
        return dict.fromkeys(each.user for each in entries[inserted.done :])

    async def _read_on(self, plan: InboxPlan, inboxes: Sequence[CachedInbox]) -> None:
        """Learns what another node has appended, or an insert with an unknown outcome."""
        open_ = list(inboxes)
        while open_:
            spans = [Span(inbox.user, after=inbox.head, limit=READ_MAX) for inbox in open_]
            pages = await self._repository.inboxes.pages(spans)
            for page in pages:
                plan.learn(page)
            open_ = [inbox for inbox, page in zip(open_, pages, strict=True) if len(page) == READ_MAX]


def _moving() -> TidingsError:
    return Unavailable("the ring of storage nodes is changing: try again", 200)
