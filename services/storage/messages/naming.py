"""Finds what drafts name: entries that they change or reply to, members whom they mention.

Guarantees: what is known already is not read again; a round whose drafts name nothing reads nothing. Raises
Unavailable: then nothing was found, and nothing written.
Does not know: what is done with it (acts.py, numbering.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from services.common.scope import run_all
from services.storage.folding.judge import ADMIN
from services.storage.folding.shown import target_key
from services.storage.loading.documents import ConversationDocuments
from services.storage.memory.conversation import CachedConversation, CachedMember
from services.storage.messages.numbering import MessageDraft, NumberingBatch
from services.storage.messages.targets import Targets
from services.storage.repository.contract import Repository
from services.storage.repository.records import EVERYBODY
from tidings_protocol.ids import ConversationKind

# In a larger group to mention all is text only.
MENTION_ALL_MAX: Final = 10_000
# Conversations whose members are looked up at the same time.
AT_ONCE: Final = 16


class Naming:
    def __init__(self, repository: Repository, documents: ConversationDocuments) -> None:
        self._repository = repository
        self._documents = documents

    async def find_mentioned(self, drafts: Sequence[MessageDraft]) -> None:
        """Tells each draft who of those whom it mentions is a member."""
        named = [
            (draft, draft.special)
            for draft in drafts
            if draft.special is not None
            and (draft.special.mentions or draft.special.mention_all)
            and draft.conversation.kind is not ConversationKind.BROADCAST
        ]
        members = await self._members((draft.conversation, special.mentions) for draft, special in named)
        for draft, special in named:
            conversation = draft.conversation
            all_ = special.mention_all and conversation.document.member_count <= MENTION_ALL_MAX
            theirs = (user for user in special.mentions if user in members[conversation.id])
            draft.mentioned = (*([EVERYBODY] if all_ else []), *dict.fromkeys(theirs))
            if draft.act is not None:
                draft.act.mentioned = draft.mentioned

    async def find_targets(self, batch: NumberingBatch) -> None:
        """Reads the entries that open drafts name and that are not known, and the roles that matter."""
        keys = batch.unknown()
        if keys:
            batch.targets.learn(keys, await self._repository.messages.get(keys))
        senders = [
            (draft.conversation, act, target.sender)
            for draft in batch.open
            if (act := draft.act) is not None
            and act.name == "recall"
            and act.actor.rights.role == ADMIN
            and (target := batch.targets.at((draft.conversation.id, act.seq))) is not None
        ]
        members = await self._members((conversation, [sender]) for conversation, _, sender in senders)
        for conversation, act, sender in senders:
            member = members[conversation.id].get(sender)
            act.target_role = member.role if member is not None else 0

    async def find_changed(self, repeats: Sequence[MessageDraft], targets: Targets) -> None:
        """Tells drafts that repeat a change what its target is now."""
        named = {
            draft: key
            for draft in repeats
            if draft.act is not None and draft.first is not None and (key := target_key(draft.first)) is not None
        }
        keys = targets.unknown(named.values())
        if keys:
            targets.learn(keys, await self._repository.messages.get(keys))
        for draft, key in named.items():
            assert draft.act is not None
            draft.act.target = targets.at(key)

    async def _members(
        self, named: Iterable[tuple[CachedConversation, Iterable[str]]]
    ) -> dict[str, dict[str, CachedMember]]:
        """Those of the users who are members there, by conversation and user: of a large group by one read, whatever
        the number of drafts.
        """
        conversations: dict[str, CachedConversation] = {}
        wanted: dict[str, set[str]] = {}
        found: dict[str, dict[str, CachedMember]] = {}
        for conversation, users in named:
            if conversation.knows_all:
                found[conversation.id] = conversation.members
                continue
            conversations[conversation.id] = conversation
            wanted.setdefault(conversation.id, set()).update(users)
        for start in range(0, len(conversations), AT_ONCE):
            part = list(conversations)[start : start + AT_ONCE]
            lookups = (self._documents.lookup(conversations[key], wanted[key]) for key in part)
            found.update(zip(part, await run_all(*lookups), strict=True))
        return found
