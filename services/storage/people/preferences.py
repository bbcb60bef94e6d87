"""Preferences: how a user wants to have a conversation, as its owner sets them.

The owner knows who is a member, what is the newest message there, and who has marked the conversation as unread: a read
of anybody else costs nothing more.

Guarantees: what is answered is written. A conversation that is hidden is so until there is a NORMAL message after what
was the newest then. A draft, and that a group is hidden, are of the membership in which they were set; the rest is kept
over leaving and coming back.
Does not know: who is told of it, what comes of it in lists and notifications.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.common.scope import run_all
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.conversations import ConversationStore
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.repository.contract import Repository
from services.storage.repository.people import (
    NOT_HIDDEN,
    Draft,
    Hiding,
    PreferenceChange,
    PreferenceDocument,
    PreferenceKey,
)
from services.storage.repository.records import NORMAL, Span
from tidings_protocol import client_pb2
from tidings_protocol.errors import Forbidden, NotFound, TidingsError
from tidings_protocol.ids import ConversationKind, kind_of, peers

PreferOutcome = storage_pb2.PreferOutcome

# Entries that are looked through at once, and at most, for a message that ends the hiding of a conversation: beyond
# that it counts as ended.
LOOK: Final = 200
LOOKS_MAX: Final = 25
# Hidden conversations that are looked through at the same time.
AT_ONCE: Final = 16


class Standing(NamedTuple):
    """Where a user stands in a conversation. `shown`: the seq of its newest entry that is no CHANGE."""

    user: str
    conversation: str
    shown: int
    joined_ms: int

    @property
    def key(self) -> PreferenceKey:
        return PreferenceKey(self.user, self.conversation)

    @property
    def membership(self) -> int:
        """Which membership it is: nobody leaves a direct chat or b:all."""
        return self.joined_ms if kind_of(self.conversation) is ConversationKind.GROUP else 0


class PreferenceStore:
    def __init__(
        self, repository: Repository, conversations: ConversationStore, invalidation: OwnerInvalidation
    ) -> None:
        self._repository = repository
        self._conversations = conversations
        self._invalidation = invalidation

    async def prefer(self, items: Sequence[storage_pb2.PreferItem]) -> list[PreferOutcome | TidingsError]:
        """Sets what is given; aligned with the items. Raises Unavailable if it is not known whether."""
        found = await self._conversations.get({item.prefer.conversation for item in items})
        standings: list[Standing | TidingsError] = []
        for item in items:
            try:
                standings.append(await self._standing(item.user, found[item.prefer.conversation]))
            except TidingsError as error:
                standings.append(error)
        changes = [
            change
            for item, standing in zip(items, standings, strict=True)
            if isinstance(standing, Standing) and (change := _change(item.prefer, standing)) is not None
        ]
        documents = await self._repository.preferences.change(changes)
        await self._note_marks(documents.values(), found)
        shown = await self._shown([each for each in standings if isinstance(each, Standing)], documents)
        return [
            standing if isinstance(standing, TidingsError) else PreferOutcome(preferences=shown.get(standing.key))
            for standing in standings
        ]

    async def of(
        self, user: str, entries: Sequence[storage_pb2.ConversationEntry]
    ) -> dict[str, client_pb2.ConversationPreferences]:
        """What the user prefers of these conversations, by their ids, as lists show it; those of which nothing was ever
        set are left out. Raises Unavailable.
        """
        standings = [
            Standing(user, entry.record.conversation, entry.record.shown, entry.me.joined_ms) for entry in entries
        ]
        documents = await self._repository.preferences.find({each.key for each in standings})
        return {key.conversation: shown for key, shown in (await self._shown(standings, documents)).items()}

    async def unmark(
        self, reads: Sequence[tuple[CachedConversation, str]]
    ) -> list[client_pb2.ConversationPreferences | None]:
        """These users have read where they may have marked something as unread: the mark is gone. Aligned; the
        preferences as they are now, None: there was no mark. Raises Unavailable.
        """
        keys = [PreferenceKey(user, conversation.id) for conversation, user in reads]
        # Before anything is written: who marks it again meanwhile is noted again.
        for conversation, user in reads:
            conversation.marked = conversation.marked - {user}
        try:
            documents = await self._unmark(set(keys))
        except BaseException:
            for conversation, user in reads:
                conversation.marked = conversation.marked | {user}
            raise
        standings = [
            await self._standing(user, conversation)
            for (conversation, user), key in zip(reads, keys, strict=True)
            if key in documents
        ]
        shown = await self._shown(standings, documents)
        return [shown.get(key) for key in keys]

    async def _unmark(self, keys: Collection[PreferenceKey]) -> dict[PreferenceKey, PreferenceDocument]:
        found = await self._repository.preferences.find(keys)
        marked = [key for key, document in found.items() if document.marked_unread]
        return await self._repository.preferences.change([PreferenceChange(key, marked_unread=False) for key in marked])

    async def _standing(self, user: str, conversation: CachedConversation | TidingsError) -> Standing:
        if isinstance(conversation, TidingsError):
            raise conversation
        joined_ms = 0
        if conversation.kind is ConversationKind.GROUP:
            if not conversation.exists:
                raise NotFound(f"there is no group {conversation.id}: check its id")
            member = (await self._conversations.lookup(conversation, [user])).get(user)
            if member is None:
                raise Forbidden(f"you are not a member of {conversation.id}: join it, or have an admin add you")
            joined_ms = member.joined_ms
        elif conversation.kind is ConversationKind.DIRECT and user not in peers(conversation.id):
            raise Forbidden(f"{conversation.id} is a direct chat of others: name one of your own")
        return Standing(user, conversation.id, conversation.shown, joined_ms)

    async def _note_marks(
        self,
        documents: Collection[PreferenceDocument],
        found: Mapping[str, CachedConversation | TidingsError],
    ) -> None:
        """Tells the memory of the owners who has marked what."""
        again: set[str] = set()
        for document in documents:
            conversation = self._conversations.memory.peek(document.conversation)
            if conversation is not found[document.conversation]:
                # Loaded meanwhile, perhaps before the mark was written; or another node's.
                again.add(document.conversation)
            elif document.marked_unread:
                conversation.marked = conversation.marked | {document.user}
        if again:
            self._invalidation.wrote_conversations(again)
            await self._conversations.forget(again)

    async def _shown(
        self, standings: Sequence[Standing], documents: Mapping[PreferenceKey, PreferenceDocument]
    ) -> dict[PreferenceKey, client_pb2.ConversationPreferences]:
        known = [(documents[each.key], each) for each in standings if each.key in documents]
        hiding = [(document, standing) for document, standing in known if document.hiding != NOT_HIDDEN]
        hidden: set[PreferenceKey] = set()
        for start in range(0, len(hiding), AT_ONCE):
            part = hiding[start : start + AT_ONCE]
            answers = await run_all(*(self._is_hidden(document.hiding, standing) for document, standing in part))
            hidden |= {standing.key for (_, standing), is_so in zip(part, answers, strict=True) if is_so}
        return {
            standing.key: _preferences(document, standing, is_hidden=standing.key in hidden)
            for document, standing in known
        }

    async def _is_hidden(self, hiding: Hiding, standing: Standing) -> bool:
        if hiding.joined_ms != standing.membership:
            return False
        after = hiding.after
        for _ in range(LOOKS_MAX):
            if after >= standing.shown:
                return True
            span = Span(standing.conversation, after, standing.shown + 1, LOOK)
            [page] = await self._repository.messages.pages([span], content=False)
            if any(message.kind == NORMAL for message in page):
                return False
            if len(page) < LOOK:
                return True
            after = page[-1].seq
        return False


def _change(prefer: client_pb2.Prefer, standing: Standing) -> PreferenceChange | None:
    """What the request sets; None: nothing."""
    given = {
        name: getattr(prefer, name)
        for name in ("muted_until_ms", "pinned", "archived", "marked_unread")
        if prefer.HasField(name)
    }
    if prefer.HasField("draft"):
        given["draft"] = Draft(prefer.draft, standing.membership)
    if prefer.HasField("hidden"):
        given["hiding"] = Hiding(standing.shown, standing.membership) if prefer.hidden else NOT_HIDDEN
    return PreferenceChange(standing.key, **given) if given else None


def _preferences(
    document: PreferenceDocument, standing: Standing, *, is_hidden: bool
) -> client_pb2.ConversationPreferences:
    is_theirs = document.draft.joined_ms == standing.membership
    return client_pb2.ConversationPreferences(
        conversation=document.conversation,
        muted_until_ms=document.muted_until_ms,
        pinned=document.pinned,
        archived=document.archived,
        marked_unread=document.marked_unread,
        draft=document.draft.text if is_theirs else "",
        hidden=is_hidden,
    )
