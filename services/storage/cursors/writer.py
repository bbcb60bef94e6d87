"""Cursors of members: how far they have read, and how far their devices have received.

Guarantees: a cursor never goes back and never beyond the head; what is read is delivered. A durable mark is answered
when it is written, many in one command; the others are written behind. What a user has marked as unread is so no more
with their next read, which of who marked nothing costs nothing more.
Does not know: who is told of a mark.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

from protos.tidings.internal.v1 import storage_pb2
from services.common.lanes.lane import Lanes
from services.common.rpc.faults import to_fault
from services.storage.admission.circumstances import former_of
from services.storage.limits import Limits
from services.storage.memory.conversation import CachedConversation, CachedMember
from services.storage.memory.write_behind import WriteBehind
from services.storage.messages.conversations import ConversationStore
from services.storage.repository.contract import Repository
from services.storage.repository.records import MemberCursor, MemberDocument
from tidings_protocol import client_pb2
from tidings_protocol.errors import Forbidden, NotFound, TidingsError
from tidings_protocol.ids import SLOTS, ConversationKind, hash64

MarkItem = storage_pb2.MarkItem
MarkOutcome = storage_pb2.MarkOutcome


class DeliveryMark(NamedTuple):
    """A device of this user holds the conversation up to this seq."""

    user: str
    conversation: str
    seq: int


class UnreadMarks(Protocol):
    """What users have marked as unread (people/preferences.py)."""

    async def unmark(
        self, reads: Sequence[tuple[CachedConversation, str]]
    ) -> list[client_pb2.ConversationPreferences | None]:
        """These users have read there: the mark is gone. Aligned; None: there was none. Raises Unavailable."""
        ...


class CursorWriter:
    def __init__(
        self,
        repository: Repository,
        conversations: ConversationStore,
        behind: WriteBehind,
        marks: UnreadMarks,
        limits: Limits,
    ) -> None:
        self._repository = repository
        self._conversations = conversations
        self._behind = behind
        self._marks = marks
        self.lanes: Lanes[MemberCursor, None] = Lanes(
            "mark",
            self._write,
            lanes=limits.cursor_lanes,
            capacity=limits.lane_capacity,
            batch_max=limits.batch_max,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lanes run until this is left, which writes what waits."""
        async with self.lanes:
            yield

    async def mark(self, items: Sequence[MarkItem]) -> list[MarkOutcome]:
        """Moves cursors up; outcomes are aligned with the items, each may have a fault of its own.

        If this is cancelled, what moved in memory is written behind all the same.
        """
        conversations = await self._conversations.get({item.conversation for item in items})
        wanted: dict[str, dict[str, None]] = {}
        for item in items:
            wanted.setdefault(item.conversation, {})[item.user] = None
        members: dict[str, dict[str, CachedMember] | TidingsError] = {}
        former: dict[str, set[str]] = {}
        for key, users in wanted.items():
            conversation = conversations[key]
            members[key] = await self._members(conversation, list(users))
            if isinstance(conversation, CachedConversation) and conversation.document.dissolved:
                former[key] = await former_of(self._repository, key, list(users))
        outcomes: list[MarkOutcome] = []
        durable: dict[int, MemberCursor] = {}
        unread: dict[int, tuple[CachedConversation, str]] = {}
        for index, item in enumerate(items):
            conversation, known = conversations[item.conversation], members[item.conversation]
            if isinstance(conversation, TidingsError):
                outcomes.append(MarkOutcome(fault=to_fault(conversation)))
            elif isinstance(known, TidingsError):
                outcomes.append(MarkOutcome(fault=to_fault(known)))
            else:
                outcomes.append(_mark(conversation, known.get(item.user), item, former.get(item.conversation)))
                if item.durable and item.user in conversation.moved:
                    durable[index] = conversation.moved[item.user]
                if item.read_seq and item.user in conversation.marked:
                    unread[index] = conversation, item.user
                self._behind.conversation(conversation)
        works = [(hash64(cursor.conversation) // SLOTS, cursor) for cursor in durable.values()]
        written = await self.lanes.submit_all(works)
        for index, failure in zip(durable, written, strict=True):
            if isinstance(failure, TidingsError):
                outcomes[index] = MarkOutcome(fault=to_fault(failure))
        if unread:
            await self._unmark(unread, outcomes)
        return outcomes

    async def _unmark(self, reads: Mapping[int, tuple[CachedConversation, str]], outcomes: list[MarkOutcome]) -> None:
        """Takes away the marks "unread" of who has read there; if that fails, so do these outcomes."""
        try:
            for index, preferences in zip(reads, await self._marks.unmark(list(reads.values())), strict=True):
                if preferences is not None:
                    outcomes[index].preferences.CopyFrom(preferences)
        except TidingsError as error:
            for index in reads:
                outcomes[index] = MarkOutcome(fault=to_fault(error))

    async def deliver(self, arrivals: Sequence[DeliveryMark]) -> list[MarkOutcome | None]:
        """Marks as delivered what this node owns; aligned with the marks. None: another node owns the conversation, or
        it could not be done.
        """
        outcomes: list[MarkOutcome | None] = [None] * len(arrivals)
        cold: list[int] = []
        for index, (user, key, seq) in enumerate(arrivals):
            conversation = self._conversations.memory.peek(key)
            member = conversation.members.get(user) if conversation is not None else None
            if conversation is not None and member is not None:
                outcomes[index] = _move(conversation, member, 0, seq)
                self._behind.conversation(conversation)
            elif self._conversations.memory.is_owner(key):
                cold.append(index)
        if cold:
            items = [
                MarkItem(conversation=key, user=user, delivered_seq=seq)
                for user, key, seq in (arrivals[index] for index in cold)
            ]
            for index, outcome in zip(cold, await self.mark(items), strict=True):
                outcomes[index] = None if outcome.HasField("fault") else outcome
        return outcomes

    async def _members(
        self, conversation: CachedConversation | TidingsError, users: list[str]
    ) -> dict[str, CachedMember] | TidingsError:
        """Those of the users who are members; everybody is one of b:all."""
        if isinstance(conversation, TidingsError):
            return conversation
        try:
            found = await self._conversations.lookup(conversation, users)
            missing = [user for user in users if user not in found]
            if missing and conversation.kind is ConversationKind.BROADCAST and conversation.exists:
                documents = [MemberDocument(conversation.id, user, large=True) for user in missing]
                await self._repository.members.write(documents)
                found.update({document.user: conversation.learn(document) for document in documents})
        except TidingsError as error:
            return error
        return found

    async def _write(self, batch: list[MemberCursor]) -> list[TidingsError | None]:
        await self._repository.members.advance(batch)
        return [None] * len(batch)


def _mark(
    conversation: CachedConversation, member: CachedMember | None, item: MarkItem, former: Collection[str] | None
) -> MarkOutcome:
    """`former`: of a dissolved group, who was a member at its end."""
    if member is None:
        if conversation.kind is not ConversationKind.GROUP:
            return MarkOutcome()
        if not conversation.exists or (former is not None and item.user not in former):
            return MarkOutcome(fault=to_fault(NotFound(f"there is no group {conversation.id}: check its id")))
        stranger = Forbidden(f"you are not a member of {conversation.id}: join it, or have an admin add you")
        return MarkOutcome(fault=to_fault(stranger))
    return _move(conversation, member, item.read_seq, item.delivered_seq)


def _move(conversation: CachedConversation, member: CachedMember, read_seq: int, delivered_seq: int) -> MarkOutcome:
    moved = conversation.move(member.user, read_seq, delivered_seq)
    return MarkOutcome(
        read_seq=member.read_seq,
        delivered_seq=member.delivered_seq,
        moved=moved,
        version=conversation.document.version,
        large_from=conversation.document.large_from,
    )
