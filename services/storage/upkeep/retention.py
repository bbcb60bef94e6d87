"""Removes what is older than the operator wants to keep, in small steps.

With messages go, at the same time, what CHANGEs that stay say of them, their reactions, their pins, and the inbox
entries of those who are members; entries of those who left go in the lap over all users. So nobody pages through
entries of what is gone. A CHANGE keeps its place until it is too old itself.

Guarantees: nothing younger is removed, by the database's clock, and nothing at all while that is in doubt
(timekeeping.py). The newest entry of an inbox is never removed: its number is where the next one begins. What is about
to be removed is said first (`first_seq`), so that pages can say that something is missing. What cannot be removed now
keeps nothing behind it from being removed, and a sweep that was interrupted goes on there. Only the owner sweeps; if
two nodes do, no harm is done. Does not know: who still wants what is removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from services.common.telemetry import logs, metrics
from services.storage.limits import LEAD_MAX_MS
from services.storage.memory.conversation import CachedConversation
from services.storage.memory.write_behind import WriteBehind
from services.storage.messages.conversations import ConversationStore
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Repository
from services.storage.repository.records import Span, Watermark
from services.storage.upkeep.timekeeping import Timekeeper
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import slot_of

DAY_MS = 24 * 3600 * 1000
# Conversations or users that are looked at together.
PAGE = 50
# Between two steps: what clients ask for goes first.
PAUSE_S = 0.02
# Users of whom a sweep remembers that their inboxes are done; to do one again does no harm.
SWEPT_MAX = 100_000

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long what is kept; 0 days: for ever. `step`: how many documents are removed at once."""

    message_days: int = 0
    inbox_days: int = 0
    interval_s: float = 3600.0
    step: int = 500
    pause_s: float = PAUSE_S


class Dated(NamedTuple):
    """The number of a message or of an inbox entry, and its time."""

    number: int
    time_ms: int


class Lap:
    """A walk over all ids in their order, page by page, round from wherever the last one was interrupted."""

    def __init__(self) -> None:
        self._at = ""

    async def pages(self, following: Callable[[str], Awaitable[list[str]]]) -> AsyncIterator[list[str]]:
        """`following` gives the next ids after one. Each page counts as done when it is given out."""
        began, goes_round = self._at, bool(self._at)
        while True:
            ids = await following(self._at)
            if began and not goes_round:
                ids = [each for each in ids if each <= began]
            if ids:
                self._at = ids[-1]
                yield ids
                continue
            self._at = ""
            if not goes_round:
                return
            goes_round = False


class Retention:
    def __init__(
        self,
        repository: Repository,
        conversations: ConversationStore,
        behind: WriteBehind,
        peers: StoragePeers,
        time: Timekeeper,
        policy: RetentionPolicy,
    ) -> None:
        self._repository = repository
        self._conversations = conversations
        self._behind = behind
        self._peers = peers
        self._time = time
        self._policy = policy
        self._conversation_lap, self._user_lap = Lap(), Lap()
        self._swept: set[str] = set()  # users of this sweep whose inboxes are done, at most SWEPT_MAX

    async def run(self) -> None:
        """Sweeps for ever, until it is cancelled; returns at once if everything is kept."""
        while self._policy.message_days or self._policy.inbox_days:
            try:
                await self.sweep()
            except TidingsError as error:
                log.warning("retention goes on later", error=error.message)
            await asyncio.sleep(self._policy.interval_s)

    async def sweep(self) -> None:
        """Removes everything that is too old now and that this node owns. Nothing while the time of day is in doubt."""
        await self._time.measure()
        if not self._time.is_trusted:
            log.warning("retention waits: the time of day is in doubt", lead_s=self._time.lead_ms / 1000)
            return
        now_ms = self._time.wall_ms()
        days = [each for each in (self._policy.message_days, self._policy.inbox_days) if each]
        self._swept = set()
        if self._policy.message_days:
            await self._sweep_messages(now_ms, now_ms - self._policy.message_days * DAY_MS, now_ms - min(days) * DAY_MS)
        if days:
            await self._sweep_inboxes(now_ms, now_ms - min(days) * DAY_MS)

    async def _sweep_messages(self, now_ms: int, before_ms: int, entries_before_ms: int) -> None:
        async def following(last: str) -> list[str]:
            return [each.conversation for each in await self._repository.conversations.after(last, PAGE)]

        async for ids in self._conversation_lap.pages(following):
            owned = [key for key in ids if self._owns(key)]
            oldest = await self._repository.messages.pages([Span(key, limit=1) for key in owned], content=False)
            for page in oldest:
                if page and not _is_young(page[0].time_ms, now_ms, before_ms):
                    await self._try(
                        self._remove_with_entries(page[0].conversation, now_ms, before_ms, entries_before_ms),
                        page[0].conversation,
                    )

    async def _remove_with_entries(self, key: str, now_ms: int, before_ms: int, entries_before_ms: int) -> None:
        conversation = (await self._conversations.get([key]))[key]
        if not isinstance(conversation, CachedConversation):
            raise conversation
        await self._remove_messages(conversation, now_ms, before_ms)
        for user in list(conversation.members) if conversation.knows_all else ():
            if user not in self._swept:
                if len(self._swept) >= SWEPT_MAX:
                    self._swept.clear()
                self._swept.add(user)
                await self._remove_entries(user, now_ms, entries_before_ms)

    async def _remove_messages(self, conversation: CachedConversation, now_ms: int, before_ms: int) -> None:
        key = conversation.id
        # The head must be in the document before the message that shows it is gone.
        self._behind.conversation(conversation)
        await self._behind.flush()
        removed = self._policy.step
        while removed >= self._policy.step:
            span = Span(key, limit=self._policy.step)
            (page,) = await self._repository.messages.pages([span], content=False)
            below = _first_kept([Dated(each.seq, each.time_ms) for each in page], now_ms, before_ms)
            if below == 0 or below > conversation.settled + 1:
                return
            if below > conversation.told + 1:
                log.warning("retention waits until events are told", conversation=key, told=conversation.told)
                return
            await self._repository.conversations.advance([Watermark(key, conversation.head, first_seq=below)])
            conversation.first_seq = max(conversation.first_seq, below)
            await self._erase_traces(conversation, below)
            await self._remove_reactions(key, below)
            removed = await self._repository.messages.remove(key, below)
            metrics.RETENTION_REMOVED.labels("messages").inc(removed)
            await asyncio.sleep(self._policy.pause_s)

    async def _erase_traces(self, conversation: CachedConversation, below: int) -> None:
        """Erases what lies elsewhere of the messages below this seq."""
        expiry = self._repository.expiry
        await expiry.erase_changes(conversation.id, below)
        document = conversation.document
        if gone := [(conversation.id, seq) for seq in document.pinned if seq < below]:
            await expiry.unpin(gone)
            kept = tuple(seq for seq in conversation.document.pinned if seq >= below)
            conversation.document = replace(conversation.document, pinned=kept)

    async def _remove_reactions(self, key: str, below: int) -> None:
        """Those to messages that are about to go: as long as one of these is left, the sweep comes back here."""
        removed = self._policy.step
        while removed >= self._policy.step:
            removed = await self._repository.reactions.remove(key, 0, below, self._policy.step)
            metrics.RETENTION_REMOVED.labels("reactions").inc(removed)
            if removed:
                await asyncio.sleep(self._policy.pause_s)

    async def _sweep_inboxes(self, now_ms: int, before_ms: int) -> None:
        async def following(last: str) -> list[str]:
            return [each.user for each in await self._repository.users.after(last, PAGE)]

        async for ids in self._user_lap.pages(following):
            owned = [user for user in ids if self._owns(user) and user not in self._swept]
            for page in await self._repository.inboxes.pages([Span(user, limit=1) for user in owned]):
                if page and not _is_young(page[0].time_ms, now_ms, before_ms):
                    await self._try(self._remove_entries(page[0].user, now_ms, before_ms), page[0].user)

    async def _remove_entries(self, user: str, now_ms: int, before_ms: int) -> None:
        removed = self._policy.step
        while removed >= self._policy.step:
            (page,) = await self._repository.inboxes.pages([Span(user, limit=self._policy.step + 1)])
            below = _first_kept([Dated(each.number, each.time_ms) for each in page[:-1]], now_ms, before_ms)
            if below == 0:
                return
            removed = await self._repository.inboxes.remove(user, below)
            metrics.RETENTION_REMOVED.labels("inbox").inc(removed)
            await asyncio.sleep(self._policy.pause_s)

    async def _try(self, removal: Awaitable[None], key: str) -> None:
        """Removes from one conversation or inbox; one that fails is left to the next sweep."""
        try:
            await removal
        except TidingsError as error:
            metrics.RETENTION_FAILED.inc()
            log.warning("retention leaves one out", key=key, error=error.message)

    def _owns(self, key: str) -> bool:
        return self._peers.owner_of(slot_of(key)) is None


def _is_young(time_ms: int, now_ms: int, before_ms: int) -> bool:
    """Whether the time is not too old. One in the future says nothing, since some clock was wrong: it is not young."""
    return before_ms <= time_ms <= now_ms + LEAD_MAX_MS


def _first_kept(page: Sequence[Dated], now_ms: int, before_ms: int) -> int:
    """The number after the last of those (number, time) at the beginning that are too old; 0 if there is none. What
    has a time in the future is as old as what follows it.
    """
    below = 0
    for number, time_ms in page:
        if _is_young(time_ms, now_ms, before_ms):
            break
        if time_ms < before_ms:
            below = number + 1
    return below
