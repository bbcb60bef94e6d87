"""Pages of conversations and inboxes, members, and heads.

Pages that are asked for at the same time are read together: one command for all spans of a batch, for inboxes one more
for the messages that the entries tell of, and beside it one for what the readers have hidden; then, if there are any,
one for the content of large messages, and beside it one for what CHANGEs change that is not among them.

Guarantees: a page shows only what is durable on a majority; heads are not behind anything that was answered before. A
page always moves: it has an entry, or is the end, or its `next` lies beyond what was asked. What is read for a page is
about twice what it may hold, whatever the messages are; where entries are left out, up to LOOK_MAX more with their
first SHORT_BYTES.
Does not know: who may read what (logic gives the bounds).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from services.common.rpc.faults import to_fault
from services.common.scope import run_both
from services.common.telemetry import logs
from services.storage.folding.shown import targets_of
from services.storage.folding.texts import StreamTexts, as_of_now
from services.storage.inboxes.writer import InboxWriter
from services.storage.limits import Limits
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.conversations import ConversationStore
from services.storage.pages.paging import (
    ENTRIES_MAX,
    SHORT_BYTES,
    HistoryLook,
    PageOutcome,
    bytes_for,
    completed,
    content_max,
    fill_inbox_page,
    history_page,
    history_window,
    present_messages,
    to_complete,
)
from services.storage.pages.showing import Showing, is_before, is_hidden, key_of
from services.storage.reactions.mine import mine_of_each
from services.storage.repository.contract import Repository
from services.storage.repository.records import (
    CHANGE,
    MAX_NUMBER,
    NOTHING_HIDDEN,
    HiddenSeqs,
    InboxEntry,
    MemberDocument,
    MemberKey,
    MessageKey,
    Span,
    StoredMessage,
)
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import SLOTS, ConversationKind, hash64, kind_of

# Pages of one batch: what they hold is in memory at the same time, and read by one command, within its deadline.
PAGES_MAX = 16
# Spans read for one page of an inbox whose messages are gone: each twice as long as the one before, up to so many
# entries for all pages of the batch together.
SKIPS_MAX = 8
SKIP_ENTRIES_MAX = 8000

# Conversations that are brought into memory at once for their heads: far below what the lanes hold.
HEADS_AT_ONCE = 500

log = logs.get_logger(__name__)

Work = storage_pb2.HistoryItem | storage_pb2.InboxItem


class OpenPage(NamedTuple):
    """A page of an inbox that is filled, with at most so many entries."""

    item: storage_pb2.InboxItem
    limit: int
    outcome: PageOutcome


class PageReader:
    def __init__(
        self,
        repository: Repository,
        conversations: ConversationStore,
        inboxes: InboxWriter,
        clock: Clock,
        limits: Limits,
        texts: StreamTexts,
    ) -> None:
        """`texts`: of streams, as far as this node has them."""
        self._texts = texts
        self._repository = repository
        self._conversations = conversations
        self._inboxes = inboxes
        self._clock = clock
        self.lanes: Lanes[Work, PageOutcome] = Lanes(
            "read",
            self._handle,
            lanes=limits.read_lanes,
            capacity=limits.lane_capacity,
            batch_max=min(limits.batch_max, PAGES_MAX),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The lanes run until this is left, which answers what waits."""
        async with self.lanes:
            yield

    async def history(self, items: Sequence[storage_pb2.HistoryItem]) -> list[PageOutcome]:
        """A page of messages for each item; aligned, each may have a fault of its own. Cancelling this is safe."""
        bound = bytes_for(0, len(items))
        for item in items:
            item.bytes_max = min(item.bytes_max or bound, bound)
        outcomes = await self.lanes.submit_all([(hash64(item.conversation) // SLOTS, item) for item in items])
        return _pages(outcomes)

    async def inbox(self, items: Sequence[storage_pb2.InboxItem]) -> list[PageOutcome]:
        """A page of an inbox for each item; aligned, each may have a fault of its own. Cancelling this is safe."""
        bound = bytes_for(0, len(items))
        for item in items:
            item.bytes_max = min(item.bytes_max or bound, bound)
        outcomes = await self.lanes.submit_all([(hash64(item.user) // SLOTS, item) for item in items])
        return _pages(outcomes)

    async def members(self, items: Sequence[storage_pb2.MembersItem]) -> list[storage_pb2.MembersOutcome]:
        """A page of members for each item, by user id; aligned, each may have a fault of its own."""
        conversations = await self._conversations.get({item.conversation for item in items})
        outcomes: list[storage_pb2.MembersOutcome] = []
        for item in items:
            try:
                outcomes.append(await self._member_page(conversations[item.conversation], item))
            except TidingsError as error:
                outcomes.append(storage_pb2.MembersOutcome(fault=to_fault(error)))
        return outcomes

    async def conversation_heads(self, keys: Sequence[str], *, warm_only: bool) -> storage_pb2.HeadOutcomes:
        """Heads and the times of the last messages; 0 where there is nothing, or where it cannot be loaded now: a pong
        without the head of one group is better than none. Raises the error if none can be.
        """
        found: dict[str, CachedConversation | TidingsError | None] = {}
        if warm_only:
            found = {key: self._conversations.memory.peek(key) for key in keys}
        else:
            for start in range(0, len(keys), HEADS_AT_ONCE):
                found.update(await self._conversations.get(keys[start : start + HEADS_AT_ONCE]))
        errors = [each for each in found.values() if isinstance(each, TidingsError)]
        if errors and len(errors) == len(found):
            raise errors[0]
        if errors:
            log.warning("heads cannot be told", count=len(errors), reason=errors[0].message)
        answer = storage_pb2.HeadOutcomes()
        for key in keys:
            conversation = found[key]
            head, last_ms = (
                (conversation.head, conversation.last_ms) if isinstance(conversation, CachedConversation) else (0, 0)
            )
            answer.heads.append(head)
            answer.times_ms.append(last_ms)
        return answer

    async def inbox_heads(self, users: Sequence[str]) -> storage_pb2.HeadOutcomes:
        """The number of each user's newest entry, 0 if there is none; aligned. Raises the first failure."""
        found = await self._inboxes.touch(users)
        heads: list[int] = []
        for user in users:
            inbox = found[user]
            if isinstance(inbox, TidingsError):
                raise inbox
            heads.append(inbox.head)
        return storage_pb2.HeadOutcomes(heads=heads)

    async def _member_page(
        self, conversation: CachedConversation | TidingsError, item: storage_pb2.MembersItem
    ) -> storage_pb2.MembersOutcome:
        if isinstance(conversation, TidingsError):
            raise conversation
        limit = min(item.limit or ENTRIES_MAX, ENTRIES_MAX)
        if conversation.knows_all:
            users = sorted(user for user in conversation.members if user > item.after)[: limit + 1]
            records = [conversation.members[user].record() for user in users]
        else:
            page = await self._repository.members.page(conversation.id, item.after, limit + 1)
            records = [member_record(document) for document in page]
        return storage_pb2.MembersOutcome(members=records[:limit], more=len(records) > limit)

    async def _handle(self, batch: list[Work]) -> list[PageOutcome | TidingsError]:
        outcomes: dict[int, PageOutcome | TidingsError] = {}
        history = [(index, item) for index, item in enumerate(batch) if isinstance(item, storage_pb2.HistoryItem)]
        inbox = [(index, item) for index, item in enumerate(batch) if isinstance(item, storage_pb2.InboxItem)]
        if history:
            for (index, _), outcome in zip(history, await self._histories([each for _, each in history]), strict=True):
                outcomes[index] = outcome
        if inbox:
            for (index, _), outcome in zip(inbox, await self._inbox_pages([each for _, each in inbox]), strict=True):
                outcomes[index] = outcome
        return [outcomes[index] for index in range(len(batch))]

    async def _histories(self, items: Sequence[storage_pb2.HistoryItem]) -> list[PageOutcome | TidingsError]:
        windows = [history_window(item, item.bytes_max) for item in items]
        # The heads first: a page may show more than its head says, never less.
        conversations = await self._conversations.get({item.conversation for item in items})
        looks = [HistoryLook(window) for window in windows]
        readers = [MemberKey(item.conversation, item.user) for item in items]
        pages, hidden = await run_both(self._read_on(looks), self._hidden_of(readers))
        for look, reader, page in zip(looks, readers, pages, strict=True):
            look.hidden = hidden.get(reader, NOTHING_HIDDEN)
            look.take(page, look.span)
        while open_ := [look for look in looks if look.is_open]:
            for look, page in zip(open_, await self._read_on(open_, SHORT_BYTES), strict=True):
                look.take(page, look.span)
        showing = await self._complete_histories(looks, [item.user for item in items])
        outcomes: list[PageOutcome | TidingsError] = []
        for look, shows in zip(looks, showing, strict=True):
            conversation = conversations[look.window.span.key]
            if isinstance(conversation, TidingsError):
                outcomes.append(conversation)
                continue
            head = max([conversation.head, look.upto, *(message.seq for message in look.entries)])
            outcomes.append(history_page(look, shows.item, head=head, first_seq=conversation.first_seq))
        return outcomes

    async def _read_on(self, looks: Sequence[HistoryLook], most: int = MAX_NUMBER) -> list[list[StoredMessage]]:
        """What is next for each of these pages; content longer than suits a page, or than `most`, is left out."""
        short = min(content_max(look.window.limit, look.window.bytes_max) for look in looks)
        return await self._repository.messages.pages([look.span for look in looks], content_max=min(short, most))

    async def _complete_histories(self, looks: Sequence[HistoryLook], users: Sequence[str]) -> list[Showing]:
        """Completes the entries of these pages as far as each goes, and says how each is shown to its user."""
        wanted = {key for look in looks for key in to_complete(look.entries, look.window.limit, look.window.bytes_max)}
        entries = [each for look in looks for each in look.entries[: look.window.limit]]
        whole, targets = await run_both(self._whole(wanted), self._targets_of(entries))
        for look in looks:
            look.entries = [as_of_now(each, self._texts) for each in completed(look.entries, wanted, whole)]
        seen = [(user, [*look.entries, *targets.values()]) for user, look in zip(users, looks, strict=True)]
        mine = await mine_of_each(self._repository.reactions, seen)
        now_ms = self._clock.wall_ms()
        return [Showing(now_ms, targets, look.stubs(), own) for look, own in zip(looks, mine, strict=True)]

    async def _whole(self, keys: Collection[MessageKey]) -> dict[MessageKey, StoredMessage]:
        return await self._repository.messages.get(list(keys)) if keys else {}

    async def _targets_of(self, entries: Sequence[StoredMessage]) -> dict[MessageKey, StoredMessage]:
        """What the CHANGEs among these change: from among these, else read without content."""
        targets = targets_of(entries)
        if not targets:
            return {}
        found = {key: each for each in entries if (key := key_of(each)) in targets}
        missing = list(targets - found.keys())
        return found | (await self._repository.messages.get(missing, content_max=0) if missing else {})

    async def _hidden_of(self, readers: Collection[MemberKey]) -> dict[MemberKey, HiddenSeqs]:
        """What each reader has hidden; nobody in particular ("") has hidden nothing."""
        return await self._repository.hidden.of({each for each in readers if each.user})

    async def _inbox_pages(self, items: Sequence[storage_pb2.InboxItem]) -> list[PageOutcome | TidingsError]:
        """Pages of inboxes, aligned with the items; one whose inbox cannot be had fails alone."""
        inboxes = await self._inboxes.touch(item.user for item in items)
        outcomes: list[PageOutcome | TidingsError] = []
        open_: list[OpenPage] = []
        for item in items:
            inbox = inboxes[item.user]
            if isinstance(inbox, TidingsError):
                outcomes.append(inbox)
                continue
            outcome = PageOutcome(head=inbox.head, next=item.after)
            outcomes.append(outcome)
            open_.append(OpenPage(item, min(item.limit or ENTRIES_MAX, ENTRIES_MAX), outcome))
        await self._fill_inbox_pages(open_)
        return outcomes

    async def _fill_inbox_pages(self, open_: Sequence[OpenPage]) -> None:
        """Reads on for each page until it has an entry or is the end, or SKIPS_MAX times: entries whose messages are
        gone fill no page, and there may be very many of them in a row.
        """
        for skipped in range(SKIPS_MAX):
            if not open_:
                return
            longest = max(ENTRIES_MAX + 1, SKIP_ENTRIES_MAX // len(open_))
            spans = [
                Span(page.item.user, page.outcome.next, limit=min((page.limit + 1) << skipped, longest))
                for page in open_
            ]
            found = await self._repository.inboxes.pages(spans)
            messages, showing = await self._messages_of(list(zip(open_, found, strict=True)))
            for page, span, entries in zip(open_, spans, found, strict=True):
                is_last = len(entries) < span.limit
                fill_inbox_page(
                    page.outcome,
                    entries,
                    messages,
                    showing[page.item.user].item,
                    limit=page.limit,
                    bytes_max=page.item.bytes_max,
                    is_last=is_last,
                )
            open_ = [page for page in open_ if page.outcome.more and not page.outcome.entries]

    async def _messages_of(
        self, pages: Sequence[tuple[OpenPage, Sequence[InboxEntry]]]
    ) -> tuple[dict[MessageKey, StoredMessage], dict[str, Showing]]:
        """The messages of these entries by (conversation, seq), complete as far as each page goes; and how they are
        shown, by user.
        """
        keys = [(entry.conversation, entry.seq) for _, entries in pages for entry in entries]
        if not keys:
            return {}, {page.item.user: Showing(0, {}, ()) for page, _ in pages}
        short = min(content_max(len(entries), page.item.bytes_max) for page, entries in pages)
        readers = {MemberKey(entry.conversation, page.item.user) for page, entries in pages for entry in entries}
        found, hidden = await run_both(self._repository.messages.get(keys, content_max=short), self._hidden_of(readers))
        wanted = {
            key
            for page, entries in pages
            for key in to_complete(present_messages(entries, found), page.limit, page.item.bytes_max)
        }
        (whole, targets), joined = await run_both(
            run_both(self._whole(wanted), self._targets_of(list(found.values()))),
            self._joinings(readers, {each.conversation for each in found.values() if each.kind == CHANGE}),
        )
        for key in wanted:
            del found[key]
        found.update(whole)
        users = list(dict.fromkeys(page.item.user for page, _ in pages))
        seen = {key_of(each): each for each in (*found.values(), *targets.values())}
        mine = await mine_of_each(self._repository.reactions, [(user, seen.values()) for user in users])
        now_ms = self._clock.wall_ms()
        stubs: dict[str, set[MessageKey]] = {page.item.user: set() for page, _ in pages}
        for (conversation, user), theirs in hidden.items():
            those = (each for each in found.values() if each.conversation == conversation)
            stubs[user].update(key_of(each) for each in those if is_hidden(each, theirs))
        for (conversation, user), first in joined.items():
            stubs[user].update(key_of(each) for each in found.values() if is_before(each, conversation, first))
        own = dict(zip(users, mine, strict=True))
        return found, {user: Showing(now_ms, targets, keys, own[user]) for user, keys in stubs.items()}

    async def _joinings(self, readers: Collection[MemberKey], changed: Collection[str]) -> dict[MemberKey, int]:
        """The first seq that these readers may read, where that is not the first of all, in conversations in which
        something was changed.
        """
        groups = {each for each in changed if kind_of(each) is ConversationKind.GROUP}
        asked = [each for each in readers if each.conversation in groups]
        found = await self._repository.members.find(asked) if asked else {}
        return {key: each.joined_seq for key, each in found.items() if each.joined_seq > 1}


def member_record(document: MemberDocument) -> storage_pb2.MemberRecord:
    return storage_pb2.MemberRecord(
        user=document.user,
        role=document.role,
        joined_seq=document.joined_seq,
        read_seq=document.read_seq,
        delivered_seq=document.delivered_seq,
        joined_ms=document.joined_ms,
        muted_until_ms=document.muted_until_ms,
    )


def _pages(outcomes: Sequence[PageOutcome | TidingsError]) -> list[PageOutcome]:
    return [
        PageOutcome(fault=to_fault(outcome)) if isinstance(outcome, TidingsError) else outcome for outcome in outcomes
    ]
