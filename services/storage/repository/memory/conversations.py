"""Conversations, their members, and changes of groups of the twin in memory.

Guarantees: those of repository/contract.py. Does not know: what a change does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

from services.storage.limits import LEAD_MAX_MS, LEADERS_MAX
from services.storage.repository.memory.port import MemoryPort, following, those
from services.storage.repository.records import (
    ConversationDocument,
    MadeChange,
    MemberCursor,
    MemberDocument,
    MemberKey,
    OpKey,
    PinList,
    Watermark,
)

ADMIN = 2


class MemoryConversations(MemoryPort):
    async def load(self, conversations: Collection[str]) -> dict[str, ConversationDocument]:
        await self._faults.before("conversations.load")
        return those(self._data.conversations, conversations)

    async def create(self, documents: Sequence[ConversationDocument]) -> None:
        await self._faults.before("conversations.create")
        for document in documents:
            self._data.conversations.setdefault(document.conversation, document)
        await self._faults.after("conversations.create")

    async def swap(self, document: ConversationDocument, expected_stamp: int) -> bool:
        await self._faults.before("conversations.swap")
        present = self._data.conversations.get(document.conversation)
        swapped = (present.stamp if present else 0) == expected_stamp
        if swapped:
            kept = present or ConversationDocument(document.conversation, document.kind)
            self._data.conversations[document.conversation] = replace(
                document,
                head=kept.head,
                settled=kept.settled,
                last_ms=kept.last_ms,
                first_seq=kept.first_seq,
                told=kept.told,
                told_stamp=kept.told_stamp,
                streams=kept.streams,
                changes=kept.changes,
                shown=kept.shown,
                pinned=kept.pinned,
                pinned_at=kept.pinned_at,
            )
        await self._faults.after("conversations.swap")
        return swapped

    async def advance(self, watermarks: Sequence[Watermark]) -> None:
        await self._faults.before("conversations.advance")
        for mark in watermarks:
            if present := self._data.conversations.get(mark.conversation):
                self._data.conversations[mark.conversation] = replace(
                    present,
                    head=max(present.head, mark.head),
                    settled=max(present.settled, mark.settled),
                    last_ms=_later(present.last_ms, mark),
                    first_seq=max(present.first_seq, mark.first_seq),
                    told=max(present.told, mark.told),
                    told_stamp=max(present.told_stamp, mark.told_stamp),
                    changes=max(present.changes, mark.changes),
                    shown=max(present.shown, mark.shown),
                    pending=b"" if mark.applied_stamp == present.stamp else present.pending,
                )
        await self._faults.after("conversations.advance")

    async def pin(self, lists: Sequence[PinList]) -> None:
        await self._faults.before("conversations.pin")
        for each in lists:
            present = self._data.conversations.get(each.conversation)
            if present is not None and present.pinned_at < each.at:
                self._data.conversations[each.conversation] = replace(present, pinned=each.seqs, pinned_at=each.at)
        await self._faults.after("conversations.pin")

    async def after(self, conversation: str, limit: int) -> list[ConversationDocument]:
        await self._faults.before("conversations.after")
        return following(self._data.conversations, conversation, limit)

    async def times(self, conversations: Collection[str]) -> dict[str, int]:
        await self._faults.before("conversations.times")
        return {key: each.last_ms for key, each in those(self._data.conversations, conversations).items()}


class MemoryMembers(MemoryPort):
    def _there(self, conversation: str) -> dict[str, MemberDocument]:
        return {user: each for user, each in self._data.members[conversation].items() if not each.gone}

    async def all_in(self, conversations: Collection[str]) -> dict[str, list[MemberDocument]]:
        await self._faults.before("members.all_in")
        return {key: list(there.values()) for key in conversations if (there := self._there(key))}

    async def find(self, keys: Collection[MemberKey]) -> dict[MemberKey, MemberDocument]:
        await self._faults.before("members.find")
        return {key: there[key.user] for key in keys if key.user in (there := self._there(key.conversation))}

    async def write(self, members: Sequence[MemberDocument]) -> None:
        await self._faults.before("members.write")
        for member in members:
            kept = self._data.members[member.conversation]
            present = kept.get(member.user)
            if present is None or present.stamp < member.stamp:
                kept[member.user] = member if present is None else _moved(member, present)
        await self._faults.after("members.write")

    async def advance(self, cursors: Sequence[MemberCursor]) -> None:
        await self._faults.before("members.advance")
        for cursor in cursors:
            present = self._data.members[cursor.conversation].get(cursor.user)
            if present is not None:
                self._data.members[cursor.conversation][cursor.user] = _moved(present, cursor)
        await self._faults.after("members.advance")

    async def page(self, conversation: str, after: str, limit: int) -> list[MemberDocument]:
        await self._faults.before("members.page")
        return following(self._there(conversation), after, limit)

    async def memberships(self, users: Collection[str], *, large_only: bool) -> dict[str, list[MemberDocument]]:
        await self._faults.before("members.memberships")
        found: dict[str, list[MemberDocument]] = defaultdict(list)
        for conversation in self._data.members:
            there = self._there(conversation)
            for user in users:
                if user in there and (there[user].large or not large_only):
                    found[user].append(there[user])
        return dict(found)

    async def joined(self, user: str) -> list[str]:
        await self._faults.before("members.joined")
        return [conversation for conversation in self._data.members if user in self._there(conversation)]

    async def leaders(self, conversation: str) -> list[MemberDocument]:
        await self._faults.before("members.leaders")
        return [member for member in self._there(conversation).values() if member.role >= ADMIN][:LEADERS_MAX]

    async def successor(self, conversation: str, owner: str) -> str:
        await self._faults.before("members.successor")
        others = [member for member in self._there(conversation).values() if member.user != owner]
        admins = [member for member in others if member.role == ADMIN]
        oldest = min(admins or others, key=lambda member: (member.joined_ms, member.user), default=None)
        return oldest.user if oldest else ""


class MemoryChanges(MemoryPort):
    async def keep(self, changes: Sequence[MadeChange]) -> None:
        await self._faults.before("changes.keep")
        for change in changes:
            if change.key not in self._data.changes:
                self._data.changes[change.key] = change
                self._data.written.append(change.key.conversation)
        await self._faults.after("changes.keep")

    async def find(self, keys: Collection[OpKey]) -> dict[OpKey, bytes]:
        await self._faults.before("changes.find")
        return {key: self._data.changes[key].change for key in keys if key in self._data.changes}

    async def after(self, conversation: str, stamp: int) -> list[MadeChange]:
        await self._faults.before("changes.after")
        later = [
            each for each in self._data.changes.values() if each.key.conversation == conversation and each.stamp > stamp
        ]
        return sorted(later, key=lambda each: each.stamp)


class _Cursors(Protocol):
    @property
    def read_seq(self) -> int: ...
    @property
    def delivered_seq(self) -> int: ...


def _later(last_ms: int, mark: Watermark) -> int:
    if mark.was_ahead and last_ms > mark.last_ms + LEAD_MAX_MS:
        return mark.last_ms
    return max(last_ms, mark.last_ms)


def _moved(member: MemberDocument, other: _Cursors) -> MemberDocument:
    """The member with the higher cursors of both."""
    return replace(
        member,
        read_seq=max(member.read_seq, other.read_seq),
        delivered_seq=max(member.delivered_seq, other.delivered_seq),
    )
