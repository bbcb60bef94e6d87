"""The RPC Hide: a user hides messages of a conversation, for themselves and for good.

Guarantees: what is answered is durable. A position is cut to the head, so that nothing is hidden that is still to come;
what is no message there (or a CHANGE) is passed over. An item that asks for too much has its fault, and nothing of it
is done. Repeating does no harm.
Does not know: who may read there (logic does), how what is hidden is left out (pages/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.rpc.faults import to_fault
from services.common.scope import run_all
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.conversations import ConversationStore
from services.storage.repository.contract import Repository
from services.storage.repository.message_contract import HIDDEN_MAX
from services.storage.repository.records import CHANGE, MemberKey, MessageKey, StoredMessage
from tidings_protocol.errors import BadRequest, TidingsError

HideItem = storage_pb2.HideItem
HideOutcome = storage_pb2.HideOutcome

# Writes that are under way at once for one batch.
AT_ONCE = 16


class Hides:
    def __init__(self, repository: Repository, conversations: ConversationStore) -> None:
        self._repository = repository
        self._conversations = conversations

    async def hide(self, items: Sequence[HideItem]) -> list[HideOutcome]:
        """Hides what each item names; outcomes are aligned with the items, each may have a fault of its own. Raises
        Unavailable if the repository does not answer; if this is cancelled, any of it may be hidden.
        """
        conversations = await self._conversations.get({item.conversation for item in items})
        keys = {(item.conversation, seq) for item in items for seq in item.seqs}
        found = await self._repository.messages.get(list(keys), content_max=0) if keys else {}
        outcomes: list[HideOutcome] = []
        for start in range(0, len(items), AT_ONCE):
            part = items[start : start + AT_ONCE]
            outcomes += await run_all(*(self._hide_one(item, conversations[item.conversation], found) for item in part))
        return outcomes

    async def _hide_one(
        self, item: HideItem, conversation: CachedConversation | TidingsError, found: Mapping[MessageKey, StoredMessage]
    ) -> HideOutcome:
        if isinstance(conversation, TidingsError):
            return HideOutcome(fault=to_fault(conversation))
        seqs = sorted({seq for seq in item.seqs if _is_message(found.get((item.conversation, seq)))})
        through = min(item.through, conversation.head)
        try:
            if seqs or through:
                await self._write(MemberKey(item.conversation, item.user), seqs, through)
        except TidingsError as error:
            return HideOutcome(fault=to_fault(error))
        return HideOutcome(seqs=seqs, through=through)

    async def _write(self, key: MemberKey, seqs: Sequence[int], through: int) -> None:
        if not await self._repository.hidden.hide(key, seqs, through):
            raise BadRequest(
                f"more than {HIDDEN_MAX} messages of {key.conversation} would be hidden one by one: hide all up to one "
                "of them with `through`"
            )


def _is_message(entry: StoredMessage | None) -> bool:
    return entry is not None and entry.kind != CHANGE
