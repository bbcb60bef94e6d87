"""Finds what drafts name: entries that they change or reply to, members whom they mention.

Guarantees: what is known already is not read again; a round whose drafts name nothing reads nothing. Raises
Unavailable: then nothing was found, and nothing written.
Does not know: what is done with it (acts.py, numbering.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protos.tidings.internal.v1 import common_pb2
from services.storage.folding.fold import act_of
from services.storage.folding.judge import ADMIN
from services.storage.loading.documents import ConversationDocuments
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.numbering import MessageDraft, NumberingBatch
from services.storage.messages.targets import Targets
from services.storage.repository.contract import Repository
from services.storage.repository.records import CHANGE, EVERYBODY
from tidings_protocol.ids import ConversationKind

# In a larger group to mention all is text only.
MENTION_ALL_MAX: Final = 10_000


class Naming:
    def __init__(self, repository: Repository, documents: ConversationDocuments) -> None:
        self._repository = repository
        self._documents = documents

    async def find_mentioned(self, drafts: Sequence[MessageDraft]) -> None:
        """Tells each draft who of those whom it mentions is a member."""
        for draft in drafts:
            special = draft.special
            if special is None or not (special.mentions or special.mention_all):
                continue
            draft.mentioned = await self._mentioned(draft.conversation, special)
            if draft.act is not None:
                draft.act.mentioned = draft.mentioned

    async def _mentioned(self, conversation: CachedConversation, special: common_pb2.Special) -> tuple[str, ...]:
        if conversation.kind is ConversationKind.BROADCAST:
            return ()
        members = await self._documents.lookup(conversation, dict.fromkeys(special.mentions))
        all_ = special.mention_all and conversation.document.member_count <= MENTION_ALL_MAX
        return (*([EVERYBODY] if all_ else []), *members)

    async def find_targets(self, batch: NumberingBatch) -> None:
        """Reads the entries that open drafts name and that are not known, and the roles that matter."""
        keys = batch.unknown()
        if keys:
            batch.targets.learn(keys, await self._repository.messages.get(keys))
        for draft in batch.open:
            act = draft.act
            if act is None or act.name != "recall" or act.actor.rights.role != ADMIN:
                continue
            target = batch.targets.at((draft.conversation.id, act.seq))
            if target is not None:
                found = await self._documents.lookup(draft.conversation, [target.sender])
                act.target_role = found[target.sender].role if target.sender in found else 0

    async def find_changed(self, repeats: Sequence[MessageDraft], targets: Targets) -> None:
        """Tells drafts that repeat a change what its target is now."""
        named = {
            draft: (draft.first.conversation, act_of(draft.first).seq)
            for draft in repeats
            if draft.act is not None and draft.first is not None and draft.first.kind == CHANGE
        }
        keys = targets.unknown(named.values())
        if keys:
            targets.learn(keys, await self._repository.messages.get(keys))
        for draft, key in named.items():
            assert draft.act is not None
            draft.act.target = targets.at(key)
