"""The RPC Load: one conversation by its id, with the members that were asked for, for logic nodes that decide on it.

Guarantees: what is answered is what this node has in memory, which is behind while another node writes in its place.
Who decides on a change (`op`) hears what the database says: of what is so already nothing is written, so no fence would
find that it was not so. One item that fails has its fault, and the others have their outcomes.
Does not know: who may ask, lists (lists.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.rpc.faults import to_fault
from services.storage.admission.circumstances import Circumstances
from services.storage.loading.duplicates import ChangesMade
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.conversations import ConversationStore
from services.storage.repository.contract import Repository
from services.storage.repository.records import ConversationDocument, MemberKey, OpKey
from tidings_protocol.errors import TidingsError

LoadItem = storage_pb2.LoadItem
LoadOutcome = storage_pb2.LoadOutcome

_OWNER = 3


class ConversationLoads:
    def __init__(self, repository: Repository, conversations: ConversationStore, circumstances: Circumstances) -> None:
        self._repository = repository
        self._conversations = conversations
        self._circumstances = circumstances
        self._made = ChangesMade(repository)

    async def load(self, items: Sequence[LoadItem]) -> list[LoadOutcome]:
        """Conversations with their members; outcomes are aligned with the items, each may have a fault of its own.
        Raises Unavailable if the repository does not answer.
        """
        found = await self._conversations.get({item.conversation for item in items})
        await self._catch_up({item.conversation for item in items if item.op}, found)
        await self._look_up(items, found)
        made = await self._made.find([_op_of(item) for item in items if item.op])
        outcomes: list[LoadOutcome] = []
        counted: dict[str, int] = {}
        for item in items:
            conversation = found[item.conversation]
            try:
                if isinstance(conversation, TidingsError):
                    raise conversation
                outcome = await self._outcome(conversation, item)
                if conversation.exists:
                    await self._circumstances.add(conversation, item, outcome, counted)
                if item.op and (change := made.get(_op_of(item))) is not None:
                    outcome.made.CopyFrom(change)
                outcomes.append(outcome)
            except TidingsError as error:
                outcomes.append(LoadOutcome(fault=to_fault(error)))
        return outcomes

    async def _catch_up(self, ids: Collection[str], found: dict[str, CachedConversation | TidingsError]) -> None:
        """Loads those of these again that another node has changed."""
        documents = await self._repository.conversations.load(ids) if ids else {}
        behind = [key for key, document in documents.items() if _is_behind(found[key], document)]
        if behind:
            await self._conversations.forget(behind)
            found |= await self._conversations.get(behind)

    async def _look_up(self, items: Sequence[LoadItem], found: Mapping[str, CachedConversation | TidingsError]) -> None:
        """Reads the members of large groups that are asked for and not in memory, with one command."""
        missing: dict[MemberKey, CachedConversation] = {}
        for item in items:
            conversation = found[item.conversation]
            if isinstance(conversation, CachedConversation) and conversation.exists and not conversation.knows_all:
                for user in item.users:
                    if user not in conversation.members:
                        missing[MemberKey(conversation.id, user)] = conversation
        if missing:
            for key, document in (await self._repository.members.find(missing.keys())).items():
                missing[key].learn(document)

    async def _outcome(self, conversation: CachedConversation, item: LoadItem) -> LoadOutcome:
        outcome = LoadOutcome(record=conversation.record())
        if not conversation.exists:
            return outcome
        if item.narrow or not conversation.knows_all:
            known = (conversation.members.get(user) for user in dict.fromkeys(item.users))
            outcome.members.extend(member.record() for member in known if member is not None)
            if item.successor and not conversation.knows_all:
                await self._add_successor(outcome, item)
        elif conversation.document.dissolved:
            return outcome
        elif item.known_version and item.known_version == conversation.document.version:
            outcome.unchanged = True
        else:
            outcome.members.extend(member.record() for member in conversation.members.values())
        return outcome

    async def _add_successor(self, outcome: LoadOutcome, item: LoadItem) -> None:
        """Adds who follows the owner, if one of the users asked for is the owner."""
        owner = next((member.user for member in outcome.members if member.role == _OWNER), "")
        if not owner:
            return
        outcome.successor = await self._repository.members.successor(item.conversation, owner)
        if outcome.successor and all(member.user != outcome.successor for member in outcome.members):
            conversation = (await self._conversations.get([item.conversation]))[item.conversation]
            if isinstance(conversation, CachedConversation):
                known = await self._conversations.lookup(conversation, [outcome.successor])
                outcome.members.extend(member.record() for member in known.values())


def _is_behind(conversation: CachedConversation | TidingsError, document: ConversationDocument) -> bool:
    return isinstance(conversation, CachedConversation) and conversation.document.stamp < document.stamp


def _op_of(item: LoadItem) -> OpKey:
    return OpKey(item.conversation, item.actor, item.op)
