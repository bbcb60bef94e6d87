"""Messages and inbox entries of the twin in memory.

Guarantees: those of repository/contract.py. Does not know: what is in a message.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from protos.tidings.internal.v1 import storage_pb2
from services.storage.repository.contract import MENTIONS_MAX, Conflict, Inserted
from services.storage.repository.memory.log import LogPort, client_of
from services.storage.repository.records import (
    CHANGE,
    EVERYBODY,
    MAX_NUMBER,
    ClientKey,
    Erasure,
    Fold,
    InboxEntry,
    Mention,
    MessageKey,
    Span,
    StoredMessage,
    UnreadCount,
    UnreadSpan,
    reactions_left_out,
)
from tidings_protocol import client_pb2

T = TypeVar("T")


class MemoryMessages(LogPort):
    async def insert(self, messages: Sequence[StoredMessage]) -> Inserted:
        return await self._insert("messages.insert", messages, ())

    async def pages(
        self, spans: Sequence[Span], *, content: bool = True, content_max: int = MAX_NUMBER
    ) -> list[list[StoredMessage]]:
        await self._faults.before("messages.pages")
        found = [_page(self._data.messages[span.key], span) for span in spans]
        if content:
            return [[self._bounded(each, content_max) for each in page] for page in found]
        return [[each._replace(content=b"", former=b"") for each in page] for page in found]

    async def get(
        self, keys: Sequence[MessageKey], *, content_max: int = MAX_NUMBER
    ) -> dict[MessageKey, StoredMessage]:
        await self._faults.before("messages.get")
        kept = self._data.messages
        return {key: self._bounded(kept[key[0]][key[1]], content_max) for key in keys if key[1] in kept[key[0]]}

    def _bounded(self, message: StoredMessage, content_max: int) -> StoredMessage:
        size = len(message.content)
        if size > content_max:
            return message._replace(content=b"", left_out=size)
        self._data.content_read += size
        return message

    async def find(self, keys: Collection[ClientKey]) -> dict[ClientKey, StoredMessage]:
        await self._faults.before("messages.find")
        found = {key: self._data.clients[key] for key in keys if key in self._data.clients}
        return {key: self._data.messages[key.conversation][seq] for key, seq in found.items()}

    async def fold(self, folds: Sequence[Fold]) -> None:
        await self._faults.before("messages.fold")
        for fold in folds:
            kept, place = self._data.messages[fold.conversation], (fold.conversation, fold.seq)
            present = kept.get(fold.seq)
            if present is None or self._data.revisions.get(place, 0) >= fold.revision:
                continue
            self._data.revisions[place] = fold.revision
            kept[fold.seq] = present._replace(
                state=fold.state,
                content=present.content if fold.content is None else fold.content,
                mentions=fold.mentions,
                parts=None if fold.ends else present.parts,
            )
        await self._faults.after("messages.fold")

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        await self._faults.before("messages.erase")
        for erasure in erasures:
            kept = self._data.messages[erasure.conversation]
            for each in [each for each in kept.values() if _is_changed_by(erasure, each)]:
                kept[each.seq] = _erased(each, erasure)
        await self._faults.after("messages.erase")

    async def unread(self, user: str, spans: Sequence[UnreadSpan], now_ms: int) -> list[UnreadCount]:
        await self._faults.before("messages.unread")
        return [_unread(self._data.messages[span.conversation], user, span, now_ms) for span in spans]

    async def remove(self, conversation: str, below: int) -> int:
        await self._faults.before("messages.remove")
        kept = self._data.messages[conversation]
        gone = [message for seq, message in kept.items() if seq < below]
        for message in gone:
            del kept[message.seq]
            del self._data.clients[client_of(message)]
        await self._faults.after("messages.remove")
        return len(gone)


class MemoryInboxes(LogPort):
    async def insert(self, entries: Sequence[InboxEntry]) -> Inserted:
        inserted = await self._insert("inbox.insert", (), entries)
        return Inserted(inserted.done, inserted.conflict and Conflict.NUMBER)

    async def pages(self, spans: Sequence[Span]) -> list[list[InboxEntry]]:
        await self._faults.before("inbox.pages")
        return [_page(self._data.inboxes[span.key], span) for span in spans]

    async def search(self, wanted: Sequence[tuple[Span, Collection[MessageKey]]]) -> list[dict[MessageKey, int]]:
        await self._faults.before("inbox.search")
        return [
            {
                (entry.conversation, entry.seq): number
                for number, entry in self._data.inboxes[span.key].items()
                if span.after < number < span.before and (entry.conversation, entry.seq) in messages
            }
            for span, messages in wanted
        ]

    async def remove(self, user: str, below: int) -> int:
        await self._faults.before("inbox.remove")
        gone = [number for number in self._data.inboxes[user] if number < below]
        for number in gone:
            del self._data.inboxes[user][number]
        await self._faults.after("inbox.remove")
        return len(gone)


def _is_changed_by(erasure: Erasure, message: StoredMessage) -> bool:
    """Whether it is one of the CHANGEs that lose something."""
    if not message.act or not erasure.since <= message.seq < erasure.below:
        return False
    return client_pb2.Change.FromString(message.act).seq == erasure.seq


def _erased(message: StoredMessage, erasure: Erasure) -> StoredMessage:
    if erasure.everything:
        act = reactions_left_out(erasure.seq) if message.state else message.act
        return message._replace(content=b"", former=b"", mentions=(), state=b"", act=act)
    mentions = tuple(user for user in message.mentions if user in erasure.mentions)
    return message._replace(content=b"" if erasure.contents else message.content, mentions=mentions)


def _unread(kept: Mapping[int, StoredMessage], user: str, span: UnreadSpan, now_ms: int) -> UnreadCount:
    found = _page(kept, Span(span.conversation, span.after, span.before, span.limit))
    looked = [each for each in found if each.seq not in span.hidden]
    if not looked:
        return UnreadCount()
    others = [each for each in looked if each.sender != user and not _is_gone(each, now_ms)]
    mentions = [Mention(each.seq, each.act) for each in others if {user, EVERYBODY}.intersection(each.mentions)]
    last = looked[-1]
    return UnreadCount(
        unread=sum(each.kind != CHANGE for each in others),
        mentions=tuple(mentions[:MENTIONS_MAX]),
        before=looked[0].before,
        last=last.seq,
        ordinal=last.seq - last.before - (last.kind == CHANGE),
    )


def _is_gone(message: StoredMessage, now_ms: int) -> bool:
    """Whether it is recalled, or its time is over."""
    recalled = bool(message.state) and bool(storage_pb2.FoldedState.FromString(message.state).state.recalled_by)
    return recalled or 0 < message.expires_ms <= now_ms


def _page(kept: Mapping[int, T], span: Span) -> list[T]:
    numbers: Iterable[int] = sorted(
        (number for number in kept if span.after < number < span.before), reverse=span.descending
    )
    return [kept[number] for number in list(numbers)[: span.limit]]
