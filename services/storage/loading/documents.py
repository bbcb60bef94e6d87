"""A conversation's documents: its own, its members', its users'. Read into memory, created, changed.

Guarantees: a document that says something is written after what it speaks of is there: a chat after its members, or
before the members of a change (`pending`), which whoever reads the document then writes again (`read`).
Does not know: messages (recovery.py reads what is not settled), lanes.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.scope import run_all, run_both
from services.storage.loading import membership
from services.storage.loading.beside import beside_of
from services.storage.memory.conversation import CachedConversation, CachedMember
from services.storage.repository.contract import Repository
from services.storage.repository.people import BlockKey
from services.storage.repository.records import ConversationDocument, MemberDocument, MemberKey
from tidings_protocol.ids import ConversationKind, direct, kind_of, peers

ChangeItem = storage_pb2.ChangeItem


class UserSettings(NamedTuple):
    """By conversation: who takes no messages from the other one, and who has marked it as unread."""

    blockers: Mapping[str, set[str]]
    marked: Mapping[str, set[str]]

    def put_into(self, conversation: CachedConversation) -> None:
        conversation.blockers = frozenset(self.blockers.get(conversation.id, ()))
        conversation.marked = frozenset(self.marked.get(conversation.id, ()))


class ConversationDocuments:
    def __init__(self, repository: Repository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock

    async def read(self, ids: Collection[str]) -> dict[str, ConversationDocument]:
        """The documents that are there, after what follows from their last changes was written once more."""
        documents = await self._repository.conversations.load(ids)
        await self._redo(documents.values())
        return documents

    async def members_of(
        self, ids: Collection[str], documents: Mapping[str, ConversationDocument]
    ) -> dict[str, Sequence[MemberDocument]]:
        """All members of those that are not large; `documents` are those of these ids."""
        found: dict[str, Sequence[MemberDocument]] = {}
        chats = [key for key in ids if kind_of(key) is ConversationKind.DIRECT]
        keys = [MemberKey(key, user) for key in chats for user in dict.fromkeys(peers(key)) if key in documents]
        theirs: dict[str, list[MemberDocument]] = {}
        for document in (await self._repository.members.find(keys)).values() if keys else ():
            theirs.setdefault(document.conversation, []).append(document)
        found.update(theirs)
        groups = [
            key
            for key in ids
            if kind_of(key) is ConversationKind.GROUP and key in documents and not documents[key].large_from
        ]
        if groups:
            found.update(await self._repository.members.all_in(groups))
        return found

    async def settings_of(self, ids: Collection[str]) -> UserSettings:
        """What users have set for themselves that bears on these conversations."""
        return UserSettings(*await run_both(self._blockers_of(ids), self._repository.preferences.marked(ids)))

    async def reread(self, conversation: CachedConversation) -> CachedConversation:
        """The conversation as its documents are now, after another writer changed them, with the head that is known."""
        documents = await self.read([conversation.id])
        members = await self.members_of([conversation.id], documents)
        again = cached_from(conversation.id, documents.get(conversation.id), members.get(conversation.id, ()))
        again.head, again.last_ms = conversation.head, conversation.last_ms
        again.changes, again.shown = conversation.changes, conversation.shown
        again.blockers, again.marked = conversation.blockers, conversation.marked
        again.change_seqs, again.changes_from = conversation.change_seqs, conversation.changes_from
        return again

    async def create(self, conversations: Sequence[CachedConversation]) -> None:
        """Writes the documents, members and users that direct chats and b:all need before their first message."""
        now_ms = self._clock.wall_ms()
        documents: list[ConversationDocument] = []
        members: list[MemberDocument] = []
        users: dict[str, None] = {}
        for conversation in conversations:
            # With a time, so that a chat is listed even if nobody gets to write behind when its first message came.
            documents.append(replace(conversation.document, last_ms=now_ms))
            for user in conversation.members:
                members.append(MemberDocument(conversation.id, user, joined_ms=now_ms))
                users[user] = None
        if members:
            await run_all(self._repository.members.write(members), self._repository.users.create(list(users), now_ms))
        # Last: a document says that the members are there.
        await self._repository.conversations.create(documents)
        for conversation in conversations:
            conversation.exists = True

    async def apply(
        self, conversation: CachedConversation, change: ChangeItem, *, notice_seq: int, time_ms: int
    ) -> bool:
        """Makes a change that is fenced by its notice, or by the stamp alone (notice_seq 0). False: another writer
        changed the group meanwhile, so load it again.

        The conversation in memory is altered with it, and then has something to write behind.
        """
        document = conversation.document
        named = [record.user for record in change.set] + list(change.removed)
        members = conversation.members if conversation.knows_all else await self.lookup(conversation, named)
        after = membership.decide(
            document, members, change, notice_seq=notice_seq, head=conversation.head, now_ms=time_ms
        )
        if not await self._repository.conversations.swap(after, document.stamp):
            return False
        await self._write_pending(after)
        conversation.document, conversation.exists = after, True
        _apply_pending(conversation, after)
        return True

    async def lookup(self, conversation: CachedConversation, users: Collection[str]) -> dict[str, CachedMember]:
        """Those of the users who are members, by user; read if they are not in memory. Raises Unavailable."""
        found = {user: member for user in users if (member := conversation.members.get(user)) is not None}
        if not conversation.knows_all:
            keys = [MemberKey(conversation.id, user) for user in dict.fromkeys(users) if user not in found]
            if keys:
                for document in (await self._repository.members.find(keys)).values():
                    found[document.user] = conversation.learn(document)
        return found

    async def _blockers_of(self, ids: Collection[str]) -> dict[str, set[str]]:
        pairs = [peers(key) for key in ids if kind_of(key) is ConversationKind.DIRECT]
        keys = [key for a, b in pairs if a != b for key in (BlockKey(a, b), BlockKey(b, a))]
        blockers: dict[str, set[str]] = {}
        for user, blocked in await self._repository.blocks.find(keys) if keys else ():
            blockers.setdefault(direct(user, blocked), set()).add(user)
        return blockers

    async def _redo(self, documents: Collection[ConversationDocument]) -> None:
        """Writes once more what follows from the last changes: not all of it may have been written."""
        documents = [document for document in documents if document.pending]
        if not documents:
            return
        writes = [write for document in documents for write in membership.writes_of(document)]
        now_ms = self._clock.wall_ms()
        kept = [change for document in documents for change in membership.kept_of(document, now_ms)]
        works: list[Coroutine[Any, Any, None]] = beside_of(self._repository.groups, documents)
        if writes:
            works.append(self._repository.members.write(writes))
        if kept:
            works.append(self._repository.changes.keep(kept))
        if len(works) == 1:
            await works[0]
        elif works:
            await run_all(*works)

    async def _write_pending(self, document: ConversationDocument) -> None:
        await self._redo([document])
        users = [write.user for write in membership.writes_of(document) if not write.gone]
        await self._repository.users.create(users, self._clock.wall_ms())


def cached_from(
    key: str, document: ConversationDocument | None, members: Sequence[MemberDocument]
) -> CachedConversation:
    """The conversation as its documents say, or as it begins if it has none."""
    kind = kind_of(key)
    if document is None:
        fresh = CachedConversation(key, kind, ConversationDocument(key, int(kind)))
        if kind is ConversationKind.DIRECT:
            fresh.members = {user: CachedMember(user) for user in peers(key)}
            fresh.document = ConversationDocument(key, int(kind), member_count=len(fresh.members))
        return fresh
    conversation = CachedConversation(
        key,
        kind,
        document,
        exists=True,
        head=max(document.head, document.settled),
        settled=document.settled,
        last_ms=document.last_ms,
        first_seq=document.first_seq,
        told=document.told,
        told_stamp=document.told_stamp,
        fed=document.told,
        fed_stamp=document.told_stamp,
        changes=document.changes,
        shown=document.shown,
        changes_from=max(document.head, document.settled) + 1,
        written=(
            document.head,
            document.settled,
            document.last_ms,
            0 if document.pending else document.stamp,
            document.told,
            document.told_stamp,
            document.changes,
            document.shown,
        ),
    )
    for member in members:
        conversation.learn(member)
    return conversation


def _apply_pending(conversation: CachedConversation, document: ConversationDocument) -> None:
    """Does to the members in memory what the pending change of the document does."""
    if document.dissolved:
        conversation.members.clear()
        conversation.moved.clear()
    for write in membership.writes_of(document):
        if write.gone:
            conversation.members.pop(write.user, None)
            conversation.moved.pop(write.user, None)
        else:
            conversation.learn(write)
