"""The conversations that a node has in memory, and which of them it may answer from.

Guarantees: what is kept has its changes written behind; who replaces another one takes over what that one had still to
write. A conversation that another node owns by now is forgotten when it is asked for: to what another one owns, others
write.
Does not know: how a conversation is loaded, lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter

from services.common.telemetry import metrics
from services.storage.limits import Limits
from services.storage.memory.cache import Cache
from services.storage.memory.conversation import CachedConversation
from services.storage.memory.write_behind import WriteBehind
from tidings_protocol.ids import ConversationKind, slot_of


class ConversationMemory:
    def __init__(self, owner_of: Callable[[int], str | None], behind: WriteBehind, limits: Limits) -> None:
        """`owner_of`: the other node that owns a slot of conversations; None: this one."""
        self._owner_of = owner_of
        self._behind = behind
        self._cache: Cache[CachedConversation] = Cache(
            limits.cached_members_max, attrgetter("weight"), attrgetter("is_dirty")
        )

    def __len__(self) -> int:
        return len(self._cache)

    def is_owner(self, conversation: str) -> bool:
        """Whether this node owns the conversation: in the normal case only its owner writes to it."""
        return self._owner_of(slot_of(conversation)) is None

    def peek(self, conversation: str) -> CachedConversation | None:
        """The conversation, if it is in memory and this node owns it."""
        found = self._cache.get(conversation)
        if found is not None and self._owner_of(found.slot) is not None:
            self._cache.drop(conversation)
            return None
        return found

    def divide(self, ids: Iterable[str]) -> tuple[dict[str, CachedConversation], list[str]]:
        """Those of these conversations that `peek` gives, by id, and the ids of the others; each once."""
        here: dict[str, CachedConversation] = {}
        cold: list[str] = []
        for key in dict.fromkeys(ids):
            conversation = self.peek(key)
            if conversation is None:
                cold.append(key)
            else:
                here[key] = conversation
        return here, cold

    def keep(self, conversation: CachedConversation) -> None:
        if not conversation.exists and conversation.kind is ConversationKind.GROUP:
            return  # that a group does not exist is not remembered: another node may be about to create it
        before = self._cache.peek(conversation.id)
        if before is not None and before is not conversation:
            # It was loaded again while the one before was still marked.
            conversation.take_over(before)
        self._cache.put(conversation.id, conversation)
        self._behind.conversation(conversation)
        metrics.CONVERSATIONS_CACHED.set(len(self._cache))

    def wrote(self, conversation: CachedConversation) -> bool:
        """Notes that a message went into the conversation. Whether it is still in memory: if not, another node may own
        it by now.
        """
        self._behind.conversation(conversation)
        return self._cache.peek(conversation.id) is conversation

    def moved(self, conversation: CachedConversation) -> None:
        """Notes that the conversation has something to write behind."""
        self._behind.conversation(conversation)

    def drop(self, conversation: str) -> None:
        """Forgets the conversation, whose truth is in doubt."""
        self._cache.drop(conversation)

    def drop_slots(self, slots: frozenset[int]) -> None:
        """Forgets the conversations in these slots: others may have written to them."""
        self._cache.drop_slots(slots)

    async def shrink(self) -> None:
        """Makes room, if memory is much over its bound by what is still to be written."""
        if self._cache.is_over:
            await self._behind.flush()
            self._cache.shrink()
