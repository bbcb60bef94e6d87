"""Brings conversations into memory, and settles what a node that is gone may have left half done.

What follows from a message (its inbox entries, the change that a notice carries, its sender's read position) is written
after it. Messages after the document's `settled` are therefore looked at again: all that follows from them is done once
more, which does no harm where it was done already.

Guarantees: a conversation that `load` returns has nothing half done; its head is the last message that is durable.
Does not know: lanes; who else may be doing the same at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.scope import run_all
from services.common.telemetry import logs
from services.storage.inboxes.fanout import InboxFanout
from services.storage.inboxes.numbering import Append
from services.storage.limits import READ_MAX, TRIES_MAX
from services.storage.memory.conversation import CachedConversation, CachedMember
from services.storage.messages import membership
from services.storage.messages.numbering import RecentSends
from services.storage.repository.contract import Repository
from services.storage.repository.records import (
    SYSTEM,
    ClientKey,
    ConversationDocument,
    MemberDocument,
    MemberKey,
    Span,
    StoredMessage,
)
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import ConversationKind, kind_of, peers

ChangeItem = storage_pb2.ChangeItem

log = logs.get_logger(__name__)


class ConversationLoader:
    def __init__(
        self,
        repository: Repository,
        fanout: InboxFanout,
        recent: RecentSends,
        clock: Clock,
        changed: Callable[[CachedConversation], None],
    ) -> None:
        """`changed` is told of conversations that have something to write behind."""
        self._repository = repository
        self._fanout = fanout
        self._recent = recent
        self._clock = clock
        self._changed = changed

    async def load(self, ids: Collection[str]) -> dict[str, CachedConversation | TidingsError]:
        """Each of these conversations, or why it cannot be had. Raises Unavailable if none can be."""
        documents = await self._repository.conversations.load(ids)
        await self._redo(documents.values())
        tails = await self._tails(ids, documents)
        members = await self._members(ids, documents)
        loaded: dict[str, CachedConversation | TidingsError] = {}
        for key in ids:
            conversation = _conversation(key, documents.get(key), members.get(key, ()))
            try:
                if tails[key]:
                    conversation = await self._apply_all(conversation, tails[key])
                else:
                    conversation.settled = conversation.head  # retention took what was after the watermark
                conversation.doubt_time(self._clock.wall_ms())
                loaded[key] = conversation
            except TidingsError as error:
                loaded[key] = error
        await self._settle(loaded, tails)
        return loaded

    async def create(self, conversations: Sequence[CachedConversation]) -> None:
        """The documents, members and users of direct chats and b:all that have none; before their first message."""
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
        """
        document = conversation.document
        named = [record.user for record in change.set] + list(change.removed)
        members = conversation.members if conversation.knows_all else await self.lookup(conversation, named)
        after = membership.decide(
            document, members, change, notice_seq=notice_seq, head=conversation.head, now_ms=time_ms
        )
        if not await self._repository.conversations.swap(after, document.stamp):
            return False
        await self._write(after)
        conversation.document, conversation.exists = after, True
        _apply_pending(conversation, after)
        self._changed(conversation)
        return True

    async def lookup(self, conversation: CachedConversation, users: Collection[str]) -> dict[str, CachedMember]:
        """Those of the users who are members, read if need be."""
        found = {user: member for user in users if (member := conversation.members.get(user)) is not None}
        if not conversation.knows_all:
            keys = [MemberKey(conversation.id, user) for user in dict.fromkeys(users) if user not in found]
            if keys:
                for document in (await self._repository.members.find(keys)).values():
                    found[document.user] = conversation.learn(document)
        return found

    async def _redo(self, documents: Collection[ConversationDocument]) -> None:
        """What follows from changes that may not all have been written."""
        writes = [write for document in documents for write in membership.writes_of(document)]
        now_ms = self._clock.wall_ms()
        kept = [change for document in documents for change in membership.kept_of(document, now_ms)]
        if writes and kept:
            await run_all(self._repository.members.write(writes), self._repository.changes.keep(kept))
        elif writes:
            await self._repository.members.write(writes)

    async def _write(self, document: ConversationDocument) -> None:
        await self._redo([document])
        users = [write.user for write in membership.writes_of(document) if not write.gone]
        await self._repository.users.create(users, self._clock.wall_ms())

    async def _tails(
        self, ids: Collection[str], documents: dict[str, ConversationDocument]
    ) -> dict[str, list[StoredMessage]]:
        settled = {key: documents[key].settled if key in documents else 0 for key in ids}
        tails: dict[str, list[StoredMessage]] = {key: [] for key in ids}
        # A direct chat has its document before its first message.
        open_ = [key for key in ids if key in documents or kind_of(key) is not ConversationKind.DIRECT]
        while open_:
            spans = [
                Span(key, after=tails[key][-1].seq if tails[key] else settled[key], limit=READ_MAX) for key in open_
            ]
            pages = await self._repository.messages.pages(spans, content=False)
            for key, page in zip(open_, pages, strict=True):
                tails[key] += page
            open_ = [key for key, page in zip(open_, pages, strict=True) if len(page) == READ_MAX]
        return tails

    async def _members(
        self, ids: Collection[str], documents: dict[str, ConversationDocument]
    ) -> dict[str, Sequence[MemberDocument]]:
        """All members of what is not large."""
        found: dict[str, Sequence[MemberDocument]] = {}
        chats = [key for key in ids if kind_of(key) is ConversationKind.DIRECT]
        keys = [MemberKey(key, user) for key in chats for user in dict.fromkeys(peers(key)) if key in documents]
        direct: dict[str, list[MemberDocument]] = {}
        for document in (await self._repository.members.find(keys)).values() if keys else ():
            direct.setdefault(document.conversation, []).append(document)
        found.update(direct)
        groups = [
            key
            for key in ids
            if kind_of(key) is ConversationKind.GROUP and key in documents and not documents[key].large_from
        ]
        if groups:
            found.update(await self._repository.members.all_in(groups))
        return found

    async def _settle(
        self, loaded: dict[str, CachedConversation | TidingsError], tails: dict[str, list[StoredMessage]]
    ) -> None:
        """Does all that follows from these messages once more; what cannot be settled becomes an error."""
        open_ = [
            conversation
            for conversation in loaded.values()
            if isinstance(conversation, CachedConversation) and tails[conversation.id]
        ]
        if not open_:
            return
        appends: list[Append] = []
        for conversation in open_:
            log.debug("conversation settles", conversation=conversation.id, messages=len(tails[conversation.id]))
            appends += await self._entries(conversation, tails[conversation.id])
        for append, number in zip(appends, await self._fanout.append(appends), strict=True):
            if isinstance(number, TidingsError):
                loaded[append.conversation] = number
        for conversation in open_:
            if loaded[conversation.id] is conversation:
                for message in tails[conversation.id]:
                    self._recent.add(ClientKey(message.conversation, message.sender, message.client_id), message.seq)
                    # By the positions that were written: what a device had acknowledged in the last seconds is not
                    # known here, so that a position may come back with the next acknowledgement only.
                    conversation.sent(message.sender, message.seq)
                conversation.settled = conversation.head
                self._changed(conversation)
        log.info("conversations settled", count=len(open_), entries=len(appends))

    async def _apply_all(self, conversation: CachedConversation, tail: list[StoredMessage]) -> CachedConversation:
        """With the changes whose notices are in the tail and that the document does not have yet."""
        conversation.head, conversation.last_ms = tail[-1].seq, tail[-1].time_ms
        if not conversation.exists and conversation.kind is not ConversationKind.GROUP:
            await self.create([conversation])
        for message in list(tail):
            if message.seq <= conversation.document.applied_seq or not message.change:
                continue
            change = ChangeItem.FromString(message.change)
            if not change.op:
                continue
            await self._complete(conversation, change, message, tail)
            for _ in range(TRIES_MAX):
                if await self.apply(conversation, change, notice_seq=message.seq, time_ms=message.time_ms):
                    break
                conversation = await self._reread(conversation)
                if conversation.document.applied_seq >= message.seq:
                    break
            else:
                raise Unavailable("too many writers change this group: try again")
        return conversation

    async def _complete(
        self, conversation: CachedConversation, change: ChangeItem, first: StoredMessage, tail: list[StoredMessage]
    ) -> None:
        """The further notices of a change whose writer got no further than the first."""
        keys = [
            ClientKey(conversation.id, change.actor, f"{first.client_id}.{index}")
            for index in range(1, len(change.notices))
        ]
        if not keys:
            return
        there = await self._repository.messages.find(keys)
        missing = [
            StoredMessage(
                conversation.id,
                0,
                change.actor,
                key.client_id,
                first.time_ms,
                change.notices[index].content,
                SYSTEM,
                membership.carried(change, index),
            )
            for index, key in enumerate(keys, start=1)
            if key not in there
        ]
        numbered = [each._replace(seq=conversation.head + 1 + index) for index, each in enumerate(missing)]
        if not numbered:
            return
        if (await self._repository.messages.insert(numbered)).conflict is not None:
            raise Unavailable("another node settles this conversation: try again", 200)
        tail += numbered
        conversation.head = tail[-1].seq

    async def _reread(self, conversation: CachedConversation) -> CachedConversation:
        """Another writer was here: the same conversation as it is now, with the head that is known."""
        documents = await self._repository.conversations.load([conversation.id])
        await self._redo(documents.values())
        members = await self._members([conversation.id], documents)
        again = _conversation(conversation.id, documents.get(conversation.id), members.get(conversation.id, ()))
        again.head, again.last_ms = conversation.head, conversation.last_ms
        return again

    async def _entries(self, conversation: CachedConversation, tail: Sequence[StoredMessage]) -> list[Append]:
        """Inbox entries for whoever may not have them."""
        large_from = conversation.document.large_from
        members: Collection[str] = conversation.members if conversation.knows_all else ()
        if large_from and any(message.seq < large_from and not message.change for message in tail):
            found = await self._repository.members.all_in([conversation.id])
            members = _members_until(tail, found.get(conversation.id, ()), large_from)
        return [
            Append(user, message.conversation, message.seq, message.time_ms, again=True)
            for message, users in membership.recipients_of(tail, members, large_from)
            for user in users
        ]


def _members_until(tail: Sequence[StoredMessage], members: Sequence[MemberDocument], large_from: int) -> list[str]:
    """Those who were there when the group became large. Who came later left no notice, by which a walk back would know
    it: they read from a later message on, or, where the history is shared, joined at a later time than the last message
    that has entries.
    """
    until_ms = max(message.time_ms for message in tail if message.seq < large_from)
    return [each.user for each in members if each.joined_seq < large_from and each.joined_ms <= until_ms]


def _conversation(
    key: str, document: ConversationDocument | None, members: Sequence[MemberDocument]
) -> CachedConversation:
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
        written=(document.head, document.settled, document.last_ms, 0 if document.pending else document.stamp),
    )
    for member in members:
        conversation.learn(member)
    return conversation


def _apply_pending(conversation: CachedConversation, document: ConversationDocument) -> None:
    """What the pending change of the document does to the members in memory."""
    for write in membership.writes_of(document):
        if write.gone:
            conversation.members.pop(write.user, None)
            conversation.moved.pop(write.user, None)
        else:
            conversation.learn(write)
