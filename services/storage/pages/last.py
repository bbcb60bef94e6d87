"""The newest message of each conversation of a list's page, as its user is shown it.

    the newest that is no CHANGE ─▶ is it hidden, or its time over? ─▶ the entries before it, until one is shown

Guarantees: no CHANGE, nothing hidden, nothing expired, nothing from before the user's joining; up to LOOK_MAX entries
are looked at for it, AT_ONCE_MAX at a time for all conversations of the page. Long content is left out, and all content
of what was looked for.
Does not know: what of it fits into a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protos.tidings.internal.v1 import storage_pb2
from services.storage.folding.shown import is_expired
from services.storage.repository.contract import Repository
from services.storage.repository.records import (
    CHANGE,
    NOTHING_HIDDEN,
    HiddenSeqs,
    MessageKey,
    Span,
    StoredMessage,
)

Entry = storage_pb2.ConversationEntry

LOOK_MAX = 5000
# Entries of the first look; each further one is ten times as long, up to so many, as far as there is room for them.
FIRST_LOOK, LONGEST_LOOK = 10, 1000
AT_ONCE_MAX = 20_000


@dataclass(slots=True)
class LookBack:
    """A conversation whose newest message is looked for: everything from `before` on is passed over."""

    conversation: str
    lowest: int
    before: int
    hidden: HiddenSeqs
    looked: int = 0

    def shows(self, message: StoredMessage, now_ms: int) -> bool:
        is_message = message.kind != CHANGE and not self.hidden.hides(message.seq)
        return is_message and not is_expired(message, now_ms)

    def span(self, limit: int) -> Span:
        return Span(self.conversation, self.lowest - 1, self.before, limit, descending=True)


class LastMessages:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def of(
        self, entries: Sequence[Entry], hidden: Mapping[str, HiddenSeqs], now_ms: int, content_max: int
    ) -> dict[str, StoredMessage]:
        """The newest that is shown, by conversation; where there is none, nothing. `hidden`: by conversation."""
        looks = [
            look
            for entry in entries
            if (look := _look(entry, hidden.get(entry.record.conversation, NOTHING_HIDDEN))) is not None
        ]
        keys: dict[MessageKey, LookBack] = {
            (look.conversation, look.before - 1): look for look in looks if not look.hidden.hides(look.before - 1)
        }
        found = await self._repository.messages.get(list(keys), content_max=content_max) if keys else {}
        last: dict[str, StoredMessage] = {}
        for key, message in found.items():
            if keys[key].shows(message, now_ms):
                last[message.conversation] = message
            keys[key].before = message.seq
        open_ = [look for look in looks if look.conversation not in last and look.before > look.lowest]
        limit = FIRST_LOOK
        while open_:
            spans = [look.span(limit) for look in open_]
            pages = await self._repository.messages.pages(spans, content_max=0)
            open_ = [
                look for look, page in zip(open_, pages, strict=True) if self._goes_on(look, page, limit, last, now_ms)
            ]
            limit = max(FIRST_LOOK, min(limit * 10, LONGEST_LOOK, AT_ONCE_MAX // max(1, len(open_))))
        return last

    def _goes_on(
        self, look: LookBack, page: Sequence[StoredMessage], limit: int, last: dict[str, StoredMessage], now_ms: int
    ) -> bool:
        """Whether the message is not among these, and there are more."""
        for message in page:
            if look.shows(message, now_ms):
                last[look.conversation] = message
                return False
        look.looked += len(page)
        if len(page) < limit or look.looked >= LOOK_MAX:
            return False
        look.before = page[-1].seq
        return True


def _look(entry: Entry, hidden: HiddenSeqs) -> LookBack | None:
    """Where the newest message is looked for; None: there is none that this member may read."""
    record = entry.record
    lowest = max(entry.me.joined_seq, record.first_seq, hidden.through + 1, 1)
    newest = record.shown or record.head
    return LookBack(record.conversation, lowest, newest + 1, hidden) if newest >= lowest else None
