"""When members of slow groups sent last: asked for before their messages are judged, kept before they are answered.

Guarantees: nothing is read or written for groups that are not slow. The time of a message that was stored is kept
before it is answered, and before its conversation counts as settled: what is left undone is done by whoever loads that
next (loading/recovery.py), so a restart lets nobody send sooner.
Does not know: how long a group is slow, who is not held by that (logic).
"""

from __future__ import annotations

from collections.abc import Sequence

from services.storage.messages.numbering import MessageDraft, Status
from services.storage.repository.group_contract import PaceRepository
from services.storage.repository.group_records import Pace
from services.storage.repository.records import MemberKey


class Pacing:
    def __init__(self, paces: PaceRepository) -> None:
        self._paces = paces

    async def learn(self, drafts: Sequence[MessageDraft]) -> None:
        """Brings into memory when the senders of these sent last. Raises Unavailable."""
        missing = {
            MemberKey(draft.conversation.id, draft.key.sender): draft.conversation
            for draft in drafts
            if draft.slow_s and draft.key.sender not in (draft.conversation.paces or ())
        }
        if not missing:
            return
        found = await self._paces.find(missing)
        for key, conversation in missing.items():
            conversation.pace(key.user, found.get(key, 0))

    async def keep(self, drafts: Sequence[MessageDraft]) -> None:
        """Keeps the times of those that are stored. Raises Unavailable."""
        paces = [
            Pace(draft.conversation.id, draft.key.sender, draft.time_ms)
            for draft in drafts
            if draft.slow_s and draft.status is Status.STORED
        ]
        if paces:
            await self._paces.write(paces)
