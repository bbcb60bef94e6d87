"""Pages: what to read for a request, and what of it fits into the answer.

Guarantees: pure. A page is ascending, has at least one entry if there is one, and stays within the bytes that the
caller gives otherwise; `more` looks in the direction asked; `next` goes into the same field of the next request, and
lies beyond all that was left out.
Does not know: where entries come from, how they are shown (showing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from protos.tidings.internal.v1 import storage_pb2
from services.storage.pages.showing import PageItem, is_hidden, key_of
from services.storage.repository.records import (
    CHANGE,
    MAX_NUMBER,
    NOTHING_HIDDEN,
    HiddenSeqs,
    InboxEntry,
    MessageKey,
    Span,
    StoredMessage,
)

PageOutcome = storage_pb2.PageOutcome
PageEntry = storage_pb2.PageEntry
HistoryItem = storage_pb2.HistoryItem
Show = Callable[[StoredMessage], PageItem]

ENTRIES_MAX = 500
BYTES_MAX = 128 * 1024
# All pages of one answer together: well below what one answer between nodes may have.
ANSWER_BYTES_MAX = 12 * 1024 * 1024
# Content that comes along in any case, however many messages are read for a page.
SHORT_BYTES = 512
# Entries of one read that goes on where others were left out; entries that are looked at for one page.
ON_MAX = 1000
LOOK_MAX = 5000


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """What of a conversation a request may show: `lowest` to the head, in one direction from where it says; without
    entries of kind CHANGE, unless it asks for `changes`.
    """

    span: Span
    lowest: int
    descending: bool
    limit: int
    bytes_max: int
    changes: bool = False


@dataclass(slots=True)
class HistoryLook:
    """A page of a history while it is looked for: the entries that are shown so far, in the order of the span. `upto`:
    the last one that was looked at, shown or not; `looked`: how many were.
    """

    window: HistoryWindow
    hidden: HiddenSeqs = NOTHING_HIDDEN
    entries: list[StoredMessage] = field(default_factory=list)
    upto: int = 0
    looked: int = 0
    is_end: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it goes on: nothing is found yet, and there is more."""
        return not self.entries and not self.is_end and self.looked < LOOK_MAX

    @property
    def span(self) -> Span:
        """What is to be read next."""
        span = self.window.span
        if not self.looked:
            return span
        following = span._replace(limit=min(ON_MAX, LOOK_MAX - self.looked))
        return following._replace(before=self.upto) if span.descending else following._replace(after=self.upto)

    def take(self, page: Sequence[StoredMessage], span: Span) -> None:
        """Looks at what this span gave."""
        self.entries += [each for each in page if self._shows(each)]
        self.looked += len(page)
        self.is_end = len(page) < span.limit
        if page:
            self.upto = page[-1].seq

    def stubs(self) -> set[MessageKey]:
        """The entries of which only the place is told: CHANGEs of what the reader has hidden, or may not read."""
        closed = self.hidden._replace(through=max(self.hidden.through, self.window.lowest - 1))
        return {key_of(each) for each in self.entries if each.kind == CHANGE and is_hidden(each, closed)}

    def _shows(self, entry: StoredMessage) -> bool:
        return self.window.changes if entry.kind == CHANGE else not self.hidden.hides(entry.seq)


def bytes_for(asked: int, pages: int) -> int:
    """The bytes of one page, of so many in one answer."""
    return max(1, min(asked or BYTES_MAX, ANSWER_BYTES_MAX // max(1, pages)))


def content_max(limit: int, bytes_max: int) -> int:
    """Content up to so many bytes is read at once for a page; what is longer only when it is known to be shown. So what
    is read for a page is about twice what it may hold, whatever the messages are.
    """
    return max(SHORT_BYTES, 2 * bytes_max // max(1, limit))


def to_complete(messages: Iterable[StoredMessage], limit: int, bytes_max: int) -> list[MessageKey]:
    """The (conversation, seq) of those, among what fits into a page, whose content was left out."""
    keys: list[MessageKey] = []
    size = 0
    for count, message in enumerate(messages):
        size += len(message.content) + message.left_out
        if count and (count >= limit or size > bytes_max):
            break
        if message.left_out:
            keys.append((message.conversation, message.seq))
    return keys


def completed(
    messages: Iterable[StoredMessage],
    wanted: Collection[MessageKey],
    found: Mapping[MessageKey, StoredMessage],
) -> list[StoredMessage]:
    """The messages with the content that was left out, without those that are gone meanwhile."""
    whole: list[StoredMessage] = []
    for message in messages:
        key = (message.conversation, message.seq)
        if key not in wanted:
            whole.append(message)
        elif key in found:
            whole.append(found[key])
    return whole


def history_window(item: HistoryItem, bytes_max: int) -> HistoryWindow:
    """What of a conversation the request shows: upwards from `after`, or else downwards from `before` or the newest."""
    lowest = max(item.first_seq, 1)
    limit = min(item.limit or ENTRIES_MAX, ENTRIES_MAX)
    descending = not item.HasField("after")
    before = min(item.before, MAX_NUMBER) if item.HasField("before") else MAX_NUMBER
    after = lowest - 1 if descending else max(min(item.after, MAX_NUMBER - 1), lowest - 1)
    span = Span(item.conversation, after, before, limit + 1, descending)
    return HistoryWindow(span, lowest, descending, limit, bytes_max, item.changes)


def history_page(look: HistoryLook, show: Show, *, head: int, first_seq: int) -> PageOutcome:
    """The page, from what was found, complete as far as the page goes. `first_seq`: the oldest that retention kept."""
    window = look.window
    taken: list[tuple[StoredMessage, PageItem]] = []
    size, is_cut = 0, False
    for message in look.entries:
        item = show(message)
        size += item.size
        if taken and (len(taken) >= window.limit or size > window.bytes_max):
            is_cut = True
            break
        taken.append((message, item))
    more = is_cut or not look.is_end
    following = taken[-1][0].seq if is_cut else look.upto
    if window.descending:
        taken.reverse()
        reached_the_end = not more
        asked_from = window.lowest
        following = following or min(window.span.before, head + 1)
    else:
        reached_the_end = True
        asked_from = window.span.after + 1
        following = following or window.span.after
    page = {key_of(message) for message, _ in taken}
    return PageOutcome(
        entries=[PageEntry(message=item.on(page)) for _, item in taken],
        head=head,
        more=more,
        truncated=reached_the_end and first_seq > asked_from,
        next=following,
    )


def present_messages(
    page: Sequence[InboxEntry], messages: Mapping[MessageKey, StoredMessage]
) -> Iterator[StoredMessage]:
    """The messages that these entries tell of, as far as they are there."""
    for entry in page:
        message = messages.get((entry.conversation, entry.seq))
        if message is not None:
            yield message


def fill_inbox_page(
    outcome: PageOutcome,
    page: Sequence[InboxEntry],
    messages: Mapping[MessageKey, StoredMessage],
    show: Show,
    *,
    limit: int,
    bytes_max: int,
    is_last: bool,
) -> None:
    """Puts what fits of these entries into the page; those whose message retention has removed are passed over."""
    size = 0
    outcome.more = False
    taken: dict[MessageKey, PageItem] = {}
    if (page[0].number - 1 if page else outcome.head) > outcome.next:
        outcome.truncated = True
    for entry in page:
        key = entry.conversation, entry.seq
        message = messages.get(key)
        if message is None:
            outcome.truncated = True
        else:
            item = show(message)
            size += item.size
            if outcome.entries and (len(outcome.entries) >= limit or size > bytes_max):
                outcome.more = True
                break
            # What a CHANGE changes is older, and so stands before it.
            taken[key] = item
            outcome.entries.append(PageEntry(number=entry.number, message=item.on(taken)))
        outcome.next = entry.number
    else:
        outcome.more = not is_last
        if not page:
            outcome.next = max(outcome.next, outcome.head)
    outcome.head = max(outcome.head, page[-1].number if page else 0)
