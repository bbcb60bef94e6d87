"""Brings conversations into memory: their documents and members, and what recovery.py settles of their last messages.

Guarantees: a conversation that `load` returns has nothing half done; its head is the last message that is durable.
Does not know: caches, lanes; who else may be doing the same at the same time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from services.common.clock import Clock
from services.common.scope import run_both
from services.storage.folding.writer import FoldWriter
from services.storage.inboxes.fanout import InboxFanout
from services.storage.loading.documents import ConversationDocuments, cached_from
from services.storage.loading.duplicates import RecentSends
from services.storage.loading.recovery import Recovery
from services.storage.memory.conversation import CachedConversation
from services.storage.memory.stream_watch import StreamWatch
from services.storage.repository.contract import Repository
from services.storage.repository.records import ConversationDocument, StoredMessage
from tidings_protocol.errors import TidingsError


class ConversationLoader:
    def __init__(
        self,
        repository: Repository,
        fanout: InboxFanout,
        recent: RecentSends,
        clock: Clock,
        folds: FoldWriter,
        streams: StreamWatch,
    ) -> None:
        """`folds`: writes what CHANGEs make of their targets. `streams`: who keeps an eye on them."""
        self.documents = ConversationDocuments(repository, clock)
        self._recovery = Recovery(repository, self.documents, fanout, recent, folds)
        self._streams = streams
        self._clock = clock

    async def load(self, ids: Collection[str]) -> dict[str, CachedConversation | TidingsError]:
        """Each of these conversations, or why it cannot be had. Raises Unavailable if none can be.

        Those that are returned may have something to write behind. If this is cancelled, what was settled stays so.
        """
        documents = await self.documents.read(ids)
        tails = await self._recovery.tails(ids, documents)
        members, settings = await run_both(self.documents.members_of(ids, documents), self.documents.settings_of(ids))
        loaded: dict[str, CachedConversation | TidingsError] = {}
        for key in ids:
            conversation = cached_from(key, documents.get(key), members.get(key, ()))
            settings.put_into(conversation)
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
        await self._find_streams([key for key in ids if not isinstance(loaded[key], TidingsError)], documents, tails)
        return loaded

    async def _find_streams(
        self,
        ids: Sequence[str],
        documents: Mapping[str, ConversationDocument],
        tails: Mapping[str, Sequence[StoredMessage]],
    ) -> None:
        """Has an eye kept on the messages that were streams once. Those of the tails are named before their
        conversations count as settled: whoever stored them may not have come to it.
        """
        named = [(key, seq) for key in ids if key in documents for seq in documents[key].streams]
        in_tails = [(key, message.seq) for key in ids for message in tails[key] if message.parts is not None]
        if in_tails:
            await self._streams.name(in_tails)
        if found := [*named, *in_tails]:
            self._streams.found(found)
