"""Readers: the members whose position is at or beyond a message.

Guarantees: positions as they are in memory, which is never behind what was answered; the sender of the message, and
those who joined after it and may not read it, are not among them.
Does not know: who else may be asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protos.tidings.internal.v1 import storage_pb2
from services.storage.memory.conversation import CachedConversation, CachedMember
from services.storage.messages.conversations import ConversationStore
from services.storage.repository.contract import Repository
from services.storage.repository.records import StoredMessage
from tidings_protocol.errors import Forbidden, NotFound, TidingsError
from tidings_protocol.ids import ConversationKind, peers

ReadersItem = storage_pb2.ReadersItem
ReadersOutcome = storage_pb2.ReadersOutcome

LIMIT_MAX: Final = 200


class ReadersReader:
    def __init__(self, repository: Repository, conversations: ConversationStore) -> None:
        self._repository = repository
        self._conversations = conversations

    async def readers(self, items: Sequence[ReadersItem]) -> list[ReadersOutcome | TidingsError]:
        """A page of readers for each item, aligned. Raises Unavailable."""
        found = await self._conversations.get({item.conversation for item in items})
        keys = list(dict.fromkeys((item.conversation, item.seq) for item in items if item.seq))
        messages = await self._repository.messages.get(keys, content_max=0) if keys else {}
        outcomes: list[ReadersOutcome | TidingsError] = []
        for item in items:
            try:
                message = messages.get((item.conversation, item.seq))
                outcomes.append(_page(item, found[item.conversation], message))
            except TidingsError as error:
                outcomes.append(error)
        return outcomes


def _page(
    item: ReadersItem, conversation: CachedConversation | TidingsError, message: StoredMessage | None
) -> ReadersOutcome:
    if isinstance(conversation, TidingsError):
        raise conversation
    me = _checked(conversation, item.user)
    if message is None or not max(me.joined_seq, conversation.first_seq) <= item.seq <= conversation.head:
        raise NotFound(f"{item.conversation} has no message {item.seq} for you: give the seq of one that you can read")
    users = sorted(
        member.user
        for member in conversation.members.values()
        if (member.delivered_seq if item.delivered else member.read_seq) >= item.seq >= member.joined_seq
        and member.user != message.sender
    )
    limit = min(item.limit or LIMIT_MAX, LIMIT_MAX)
    page = [user for user in users if user > item.after]
    return ReadersOutcome(users=page[:limit], count=len(users), more=len(page) > limit)


def _checked(conversation: CachedConversation, user: str) -> CachedMember:
    """The member who asks, where readers may be asked for; raises Forbidden, NotFound."""
    key = conversation.id
    if conversation.kind is ConversationKind.DIRECT and user not in peers(key):
        raise Forbidden(f"{key} is a direct chat of others: name one of your own")
    if conversation.kind is ConversationKind.GROUP and not conversation.exists:
        raise NotFound(f"there is no group {key}: check its id")
    if not conversation.knows_all:
        raise Forbidden(f"nobody is told who has read what in {key}, which is large: ask in smaller groups")
    member = conversation.members.get(user)
    if member is None:
        raise Forbidden(f"you are not a member of {key}: join it, or have an admin add you")
    return member
