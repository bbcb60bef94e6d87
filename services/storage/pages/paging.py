"""Pages: what to read for a request, and what of it fits into the answer.

Guarantees: pure. A page is ascending, has at least one entry if there is one, and stays within the bytes that the
caller gives otherwise; `more` looks in the direction asked; `next` goes into the same field of the next request.
Does not know: where entries come from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from protos.tidings.internal.v1 import storage_pb2
from services.storage.repository.records import MAX_NUMBER, InboxEntry, MessageKey, Span, StoredMessage
from tidings_protocol.ids import message_id
from tidings_protocol.wire.body import message_bytes

PageOutcome = storage_pb2.PageOutcome
PageEntry = storage_pb2.PageEntry
HistoryItem = storage_pb2.HistoryItem

ENTRIES_MAX = 500
BYTES_MAX = 128 * 1024
# All pages of one answer together: well below what one answer between nodes may have.
ANSWER_BYTES_MAX = 12 * 1024 * 1024
# Content that comes along in any case, however many messages are read for a page.
SHORT_BYTES = 512


def encode(message: StoredMessage) -> bytes:
    """An encoded `tidings.v1.Message`; the content goes in as the bytes that were stored."""
    return message_bytes(
        conversation=message.conversation,
        seq=message.seq,
        message_id=message_id(message.conversation, message.seq),
        sender=message.sender,
        time_ms=message.time_ms,
        content=message.content,
        kind=message.kind,
        client_id=message.client_id,
        ordinal=message.ordinal,
    )


@dataclass(frozen=True, slots=True)
class HistoryWindow:
    """What of a conversation a request may show: `lowest` to the head, in one direction from where it says."""

    span: Span
    lowest: int
    descending: bool
    limit: int
    bytes_max: int


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
    return HistoryWindow(span, lowest, descending, limit, bytes_max)


def history_page(window: HistoryWindow, messages: Iterable[StoredMessage], *, head: int, first_seq: int) -> PageOutcome:
    """The page, from up to limit + 1 messages in the order of the span, complete as far as it goes. `first_seq`: the
    oldest that retention kept.
    """
    taken: list[tuple[int, bytes]] = []
    size, more = 0, False
    for message in messages:
        encoded = encode(message)
        size += len(encoded) + message.left_out
        if taken and (len(taken) >= window.limit or size > window.bytes_max):
            more = True
            break
        taken.append((message.seq, encoded))
    if window.descending:
        taken.reverse()
        reached_the_end = not more
        asked_from = window.lowest
        following = taken[0][0] if taken else min(window.span.before, head + 1)
    else:
        reached_the_end = True
        asked_from = window.span.after + 1
        following = taken[-1][0] if taken else window.span.after
    return PageOutcome(
        entries=[PageEntry(message=encoded) for _, encoded in taken],
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
    *,
    limit: int,
    bytes_max: int,
    is_last: bool,
) -> None:
    """Puts what fits of these entries into the page; those whose message retention has removed are passed over."""
    size = 0
    outcome.more = False
    if (page[0].number - 1 if page else outcome.head) > outcome.next:
        outcome.truncated = True
    for entry in page:
        message = messages.get((entry.conversation, entry.seq))
        encoded = encode(message) if message else b""
        size += len(encoded) + (message.left_out if message else 0)
        if message and outcome.entries and (len(outcome.entries) >= limit or size > bytes_max):
            outcome.more = True
            break
        if message is None:
            outcome.truncated = True
        else:
            outcome.entries.append(PageEntry(number=entry.number, message=encoded))
        outcome.next = entry.number
    else:
        outcome.more = not is_last
        if not page:
            outcome.next = max(outcome.next, outcome.head)
    outcome.head = max(outcome.head, page[-1].number if page else 0)
