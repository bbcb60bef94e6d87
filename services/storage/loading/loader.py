"""Brings conversations into memory: their documents and members, and what recovery.py settles of their last messages.

Guarantees: a conversation that `load` returns has nothing half done; its head is the last message that is durable.
Does not know: caches, lanes; who else may be doing the same at the same time.
"""

from __future__ import annotations

from collections.abc import Collection

from services.common.clock import Clock
from services.storage.folding.writer import FoldWriter
from services.storage.inboxes.fanout import InboxFanout
from services.storage.loading.documents import ConversationDocuments, cached_from
from services.storage.loading.duplicates import RecentSends
from services.storage.loading.recovery import Recovery
from services.storage.memory.conversation import CachedConversation
from services.storage.repository.contract import Repository
from tidings_protocol.errors import TidingsError


class ConversationLoader:
    def __init__(
        self,
        repository: Repository,
        fanout: InboxFanout,
        recent: RecentSends,
        clock: Clock,
        folds: FoldWriter | None = None,
    ) -> None:
        """`folds`: writes what CHANGEs make of their targets; None: as if no history of edits were kept."""
        self.documents = ConversationDocuments(repository, clock)
        self._recovery = Recovery(repository, self.documents, fanout, recent, folds or FoldWriter(repository))
        self._clock = clock

    async def load(self, ids: Collection[str]) -> dict[str, CachedConversation | TidingsError]:
        """Each of these conversations, or why it cannot be had. Raises Unavailable if none can be.

        Those that are returned may have something to write behind. If this is cancelled, what was settled stays so.
        """
        documents = await self.documents.read(ids)
        tails = await self._recovery.tails(ids, documents)
        members = await self.documents.members_of(ids, documents)
        loaded: dict[str, CachedConversation | TidingsError] = {}
        for key in ids:
            conversation = cached_from(key, documents.get(key), members.get(key, ()))
            try:
                if tails[key]:
                    conversation = await self._recovery.replay(conversation, tails[key])
                else:
                    conversation.settled = conversation.head  # retention took what was after the watermark
                conversation.doubt_time(self._clock.wall_ms())
                loaded[key] = conversation
            except TidingsError as error:
                loaded[key] = error
        await self._recovery.settle(loaded, tails)
        return loaded
