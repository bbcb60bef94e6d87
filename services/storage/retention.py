"""Removes what is older than the operator wants to keep, in small steps.

Guarantees: nothing younger is removed, and never the newest entry of an inbox (its number is where the next one
begins). What is about to be removed is said first (`first_seq`), so that pages can say that something is missing. Only
the owner sweeps; if two do, no harm is done.
Does not know: who still wants it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.clock import Clock
from services.common.errors import TidingsError
from services.common.ids import slot_of
from services.common.telemetry import logs, metrics
from services.storage.conversations import Conversations
from services.storage.neighbours import Neighbours
from services.storage.repository.contract import Repository
from services.storage.repository.records import InboxEntry, Span, StoredMessage, Watermark
from services.storage.state import Conversation
from services.storage.writing_behind import WriteBehind

DAY_MS = 24 * 3600 * 1000
# Conversations or users that are looked at together.
PAGE = 50
# Between two steps: what clients ask for goes first.
PAUSE_S = 0.02

log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """0 days: keep for ever. `step`: documents removed at once."""

    message_days: int = 0
    inbox_days: int = 0
    interval_s: float = 3600.0
    step: int = 500


class Retention:
    def __init__(
        self,
        repository: Repository,
        conversations: Conversations,
        behind: WriteBehind,
        neighbours: Neighbours,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._repository = repository
        self._conversations = conversations
        self._behind = behind
        self._neighbours = neighbours
        self._clock = clock
        self._policy = policy

    async def run(self) -> None:
        """Sweeps for ever, until it is cancelled; returns at once if everything is kept."""
        while self._policy.message_days or self._policy.inbox_days:
            try:
                await self.sweep()
            except TidingsError as error:
                log.warning("retention goes on later", error=error.message)
            await asyncio.sleep(self._policy.interval_s)

    async def sweep(self) -> None:
        """Everything that is too old now and that this node owns."""
        if self._policy.message_days:
            await self._sweep_messages(self._clock.wall_ms() - self._policy.message_days * DAY_MS)
        if self._policy.inbox_days:
            await self._sweep_inboxes(self._clock.wall_ms() - self._policy.inbox_days * DAY_MS)

    async def _sweep_messages(self, before_ms: int) -> None:
        last = ""
        while documents := await self._repository.conversations.after(last, PAGE):
            last = documents[-1].conversation
            owned = [document.conversation for document in documents if self._owns(document.conversation)]
            oldest = await self._repository.messages.pages([Span(key, limit=1) for key in owned], content=False)
            for page in oldest:
                if page and page[0].time_ms < before_ms:
                    await self._remove_messages(page[0].conversation, before_ms)

    async def _remove_messages(self, key: str, before_ms: int) -> None:
        conversation = (await self._conversations.get([key]))[key]
        if not isinstance(conversation, Conversation):
            raise conversation
        # The head must be in the document before the message that shows it is gone.
        self._behind.conversation(conversation)
        await self._behind.flush()
        removed = self._policy.step
        while removed >= self._policy.step:
            span = Span(key, limit=self._policy.step)
            (page,) = await self._repository.messages.pages([span], content=False)
            below = _first_kept(page, before_ms)
            if below == 0 or below > conversation.settled + 1:
                return
            await self._repository.conversations.advance([Watermark(key, conversation.head, first_seq=below)])
            conversation.first_seq = max(conversation.first_seq, below)
            removed = await self._repository.messages.remove(key, below)
            metrics.RETENTION_REMOVED.labels("messages").inc(removed)
            await asyncio.sleep(PAUSE_S)

    async def _sweep_inboxes(self, before_ms: int) -> None:
        last = ""
        while users := await self._repository.users.after(last, PAGE):
            last = users[-1].user
            owned = [each.user for each in users if self._owns(each.user)]
            for page in await self._repository.inboxes.pages([Span(user, limit=1) for user in owned]):
                if page and page[0].time_ms < before_ms:
                    await self._remove_entries(page[0].user, before_ms)

    async def _remove_entries(self, user: str, before_ms: int) -> None:
        removed = self._policy.step
        while removed >= self._policy.step:
            (page,) = await self._repository.inboxes.pages([Span(user, limit=self._policy.step + 1)])
            below = _first_kept(page[:-1], before_ms)
            if below == 0:
                return
            removed = await self._repository.inboxes.remove(user, below)
            metrics.RETENTION_REMOVED.labels("inbox").inc(removed)
            await asyncio.sleep(PAUSE_S)

    def _owns(self, key: str) -> bool:
        return self._neighbours.owner_of(slot_of(key)) is None


def _first_kept(page: Sequence[StoredMessage] | Sequence[InboxEntry], before_ms: int) -> int:
    """The number after the last of those at the beginning that are too old; 0 if there is none."""
    below = 0
    for each in page:
        if each.time_ms >= before_ms:
            break
        below = (each.seq if isinstance(each, StoredMessage) else each.number) + 1
    return below
