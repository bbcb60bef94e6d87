"""Settles what a node that is gone may have left half done.

What follows from a message (its inbox entries, the change that a notice carries, its sender's read position, what a
CHANGE makes of its target) is written after it. Messages after the document's `settled`, the tail, are therefore looked
at again: all that follows from them is done once more, which does no harm where it was done already.

    tails ──▶ replay: changes that the document does not have yet ──▶ settle: folds, inbox entries, for all at once

Guarantees: what is settled has nothing half done; of what cannot be settled now there is an error.
Does not know: caches; who else may be doing the same at the same time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.telemetry import logs
from services.storage.folding.writer import FoldWriter
from services.storage.inboxes.fanout import InboxFanout
from services.storage.inboxes.numbering import Append
from services.storage.limits import READ_MAX, TRIES_MAX
from services.storage.loading import membership
from services.storage.loading.documents import ConversationDocuments
from services.storage.loading.duplicates import SETTLING_RETRY_MS, RecentSends
from services.storage.loading.refolding import Refolding
from services.storage.memory.conversation import CachedConversation
from services.storage.repository.contract import Repository
from services.storage.repository.group_records import Pace
from services.storage.repository.records import (
    CHANGE,
    NORMAL,
    SYSTEM,
    ClientKey,
    ConversationDocument,
    MemberDocument,
    Span,
    StoredMessage,
)
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import ConversationKind, kind_of

ChangeItem = storage_pb2.ChangeItem

log = logs.get_logger(__name__)


class Recovery:
    def __init__(
        self,
        repository: Repository,
        documents: ConversationDocuments,
        fanout: InboxFanout,
        recent: RecentSends,
        folds: FoldWriter,
    ) -> None:
        self._repository = repository
        self._refolding = Refolding(repository, folds)
        self._documents = documents
        self._fanout = fanout
        self._recent = recent

    async def tails(
        self, ids: Collection[str], documents: Mapping[str, ConversationDocument]
    ) -> dict[str, list[StoredMessage]]:
        """The messages of each of these after what is settled, ascending, without their content."""
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

    async def replay(self, conversation: CachedConversation, tail: list[StoredMessage]) -> CachedConversation:
        """The conversation at the end of its tail, with the changes whose notices are there and that its document does
        not have yet. Adds to the tail the notices that were missing. Raises Unavailable.
        """
        conversation.take_tail(tail)
        if not conversation.exists and conversation.kind is not ConversationKind.GROUP:
            await self._documents.create([conversation])
        for message in list(tail):
            if message.seq <= conversation.document.applied_seq or not message.change:
                continue
            change = ChangeItem.FromString(message.change)
            if not change.op:
                continue  # a further notice: the first one of its change carries the whole
            await self._complete(conversation, change, message, tail)
            for _ in range(TRIES_MAX):
                if await self._documents.apply(conversation, change, notice_seq=message.seq, time_ms=message.time_ms):
                    break
                conversation = await self._documents.reread(conversation)
                if conversation.document.applied_seq >= message.seq:
                    break
            else:
                raise Unavailable("too many writers change this group: try again")
        return conversation

    async def settle(
        self, loaded: dict[str, CachedConversation | TidingsError], tails: Mapping[str, Sequence[StoredMessage]]
    ) -> None:
        """Does all that follows from these messages once more; what cannot be settled becomes an error in `loaded`."""
        open_ = [
            conversation
            for conversation in loaded.values()
            if isinstance(conversation, CachedConversation) and tails[conversation.id]
        ]
        if not open_:
            return
        await self._refolding.run(open_, tails)
        appends: list[Append] = []
        for conversation in open_:
            log.debug("conversation settles", conversation=conversation.id, messages=len(tails[conversation.id]))
            appends += await self._entries(conversation, tails[conversation.id])
        await self._keep_paces(open_, tails)
        for append, number in zip(appends, await self._fanout.append(appends), strict=True):
            if isinstance(number, TidingsError):
                loaded[append.conversation] = number
        for conversation in open_:
            if loaded[conversation.id] is conversation:
                for message in tails[conversation.id]:
                    self._recent.add(ClientKey(message.conversation, message.sender, message.client_id), message.seq)
                    if message.kind == CHANGE:
                        continue
                    # By the positions that were written: what a device had acknowledged in the last seconds is not
                    # known here, so that a position may come back with the next acknowledgement only.
                    conversation.sent(message.sender, message.seq)
                conversation.settled = conversation.head
        log.info("conversations settled", count=len(open_), entries=len(appends))

    async def _keep_paces(
        self, conversations: Sequence[CachedConversation], tails: Mapping[str, Sequence[StoredMessage]]
    ) -> None:
        """Keeps when the members of slow groups sent, which whoever stored their messages may not have come to."""
        paces = [
            Pace(message.conversation, message.sender, message.time_ms)
            for conversation in conversations
            if conversation.document.slow_s
            for message in tails[conversation.id]
            if message.kind == NORMAL
        ]
        if paces:
            await self._repository.groups.paces.write(paces)

    async def _complete(
        self, conversation: CachedConversation, change: ChangeItem, first: StoredMessage, tail: list[StoredMessage]
    ) -> None:
        """Stores the further notices of a change whose writer got no further than the first.

        The notices of one change are one ordered insert, so that those which are there come before those which are
        missing. The first carries the whole change, with the texts of all its notices: whoever finds it can write the
        others, under the client ids that the writer itself would have given them. They get the next numbers, behind
        whatever came in between; their time is that of the first, since they tell of the same moment. A conflict means
        that another node is completing the same change, or that its writer is alive after all: then the numbers are
        not this node's to give, and the next load sees what the other has written.
        """
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
        numbered = [
            each._replace(seq=conversation.head + 1 + index, before=conversation.changes)
            for index, each in enumerate(missing)
        ]
        if not numbered:
            return
        if (await self._repository.messages.insert(numbered)).conflict is not None:
            raise Unavailable("another node settles this conversation: try again", SETTLING_RETRY_MS)
        # Part of the tail now: their inbox entries are written with those of the others.
        tail += numbered
        conversation.head = conversation.shown = tail[-1].seq

    async def _entries(self, conversation: CachedConversation, tail: Sequence[StoredMessage]) -> list[Append]:
        """The inbox entries of all recipients of the tail, who may or may not have them."""
        large_from = conversation.document.large_from
        members: Collection[str] = conversation.members if conversation.knows_all else ()
        if large_from and any(message.seq < large_from and not message.change for message in tail):
            found = await self._repository.members.all_in([conversation.id])
            members = _members_until(tail, found.get(conversation.id, ()), large_from)
        return [
            Append(
                user,
                message.conversation,
                message.seq,
                message.time_ms,
                again=True,
                quiet=message.kind == CHANGE,
            )
            for message, users in membership.recipients_of(tail, members, large_from)
            for user in users
        ]


def _members_until(tail: Sequence[StoredMessage], members: Sequence[MemberDocument], large_from: int) -> list[str]:
    """The users who were members when the group became large. A user who came later left no notice, by which a walk
    back would know it: they read from a later message on, or, where the history is shared, joined at a later time than
    the last message that has entries.
    """
    until_ms = max(message.time_ms for message in tail if message.seq < large_from)
    return [each.user for each in members if each.joined_seq < large_from and each.joined_ms <= until_ms]
