"""The messages with reactions that an owner has in memory, and when it is to look at which of them again.

Guarantees: no I/O. What is kept is bounded by its weight; what is due has one place for each message that was reacted
to in the last seconds, or that was found to be ahead of the log.
Does not know: what is done with them (store.py, announcer.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from services.storage.memory.cache import Cache
from services.storage.memory.conversation import CachedConversation
from services.storage.reactions.due import DueTimes
from services.storage.reactions.message import ReactedMessage
from services.storage.reactions.tally import Tally
from services.storage.repository.reactions import ReactionCount
from services.storage.repository.records import MessageKey
from tidings_protocol.errors import TidingsError

# Reactions and messages that are kept in memory, by weight: some 0.2 KB each.
WEIGHT_MAX: Final = 100_000


class ReactedMessages:
    """`found`: which are noted as ahead although memory does not know it, and who acted."""

    def __init__(self) -> None:
        self._kept: Cache[ReactedMessage] = Cache(WEIGHT_MAX, attrgetter("weight"))
        self._due = DueTimes()
        self._put = asyncio.Event()
        self.found: dict[MessageKey, str] = {}

    def trusted(self, target: MessageKey, conversation: CachedConversation | TidingsError) -> ReactedMessage | None:
        """The message as it is in memory, unless that is in doubt."""
        reacted = self._kept.get(_key(target))
        return reacted if reacted is not None and reacted.conversation is conversation else None

    def learn(
        self, target: MessageKey, conversation: CachedConversation, counts: Iterable[ReactionCount]
    ) -> ReactedMessage:
        """The set of this message was read."""
        reacted = ReactedMessage(conversation, Tally(target, counts))
        before = self._kept.peek(_key(target))
        if before is not None:
            reacted.take_over(before)
            if before.is_marked:
                # Another node may have taken the note away: the next act makes it again.
                self.found.setdefault(target, before.news.by)
        self._kept.put(_key(target), reacted)
        return reacted

    def drop(self, target: MessageKey) -> None:
        """What is in memory of it is wrong, or may be."""
        self._kept.drop(_key(target))

    # ---- what is due

    @property
    def waiting(self) -> int:
        """How many messages are to be looked at again."""
        return len(self._due)

    def look_at(self, target: MessageKey, at_s: float) -> None:
        """It is to be looked at then, or before."""
        self._due.put(target, at_s)
        self._put.set()

    def is_due(self, target: MessageKey) -> bool:
        """Whether it is to be looked at, now or later."""
        return target in self._due

    def take_due(self, now_s: float, most: int) -> Sequence[MessageKey]:
        """Those that are due now; they are not any more."""
        return self._due.take(now_s, most)

    async def earliest(self) -> float:
        """When the next one is due; waits until one is to be."""
        while (at_s := self._due.earliest) is None:
            self._put.clear()
            await self._put.wait()
        return at_s


def _key(target: MessageKey) -> str:
    return f"{target[0]} {target[1]}"
