"""What is unread in the conversations of a list's page, for its user.

    (read position, head] of each ─▶ one command counts all of them ─▶ unread, mentions, ordinal of the read position
                                     └▶ the targets of CHANGEs that mention the user: are they still there?

Nothing is kept for each message and member: what is unread is counted when a list is read. So that a list costs no more
than it may, the oldest LOOK_MAX entries of a conversation are looked at, and TOTAL_MAX of all conversations of a page;
of the rest all that are no CHANGEs and not hidden count as unread, and its mentions are not told.

Guarantees: what is told is right as far as was looked, and not less beyond.
Does not know: who may read what, but that nobody reads what was before their joining.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.storage.folding.shown import act_in, state_of
from services.storage.repository.contract import Repository
from services.storage.repository.records import (
    NOTHING_HIDDEN,
    HiddenSeqs,
    MessageKey,
    StoredMessage,
    UnreadCount,
    UnreadSpan,
)

Entry = storage_pb2.ConversationEntry

LOOK_MAX = 10_000
TOTAL_MAX = 100_000
MENTIONS_TOLD = 100


class Beyond(NamedTuple):
    """Where a member stands in a conversation: `read`: the read position, or what retention removed; `after`: nothing
    up to here can be unread.
    """

    entry: Entry
    read: int
    after: int
    hidden: HiddenSeqs

    @property
    def conversation(self) -> str:
        return self.entry.record.conversation

    @property
    def length(self) -> int:
        return max(0, self.entry.record.head - self.after)

    @property
    def next_key(self) -> MessageKey:
        """The entry behind the read position."""
        return self.conversation, self.read + 1


class UnreadReader:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def fill(self, user: str, entries: Sequence[Entry], hidden: Mapping[str, HiddenSeqs], now_ms: int) -> None:
        """Fills in what is unread in each of these. `hidden`: what the user has hidden, by conversation."""
        places = [_beyond(entry, hidden.get(entry.record.conversation, NOTHING_HIDDEN)) for entry in entries]
        open_ = [place for place in places if place.length]
        limits = shares([place.length for place in open_])
        spans = [
            UnreadSpan(place.conversation, place.after, place.entry.record.head + 1, limit, _within(place, limit))
            for place, limit in zip(open_, limits, strict=True)
        ]
        found = await self._repository.messages.unread(user, spans, now_ms) if spans else []
        counts = {place.conversation: count for place, count in zip(open_, found, strict=True)}
        others = await self._others(places, counts)
        for place, limit in zip(open_, limits, strict=True):
            count = counts[place.conversation]
            place.entry.unread = count.unread + _rest(place, count, limit)
            _fill_mentions(place, count, others, now_ms)
        for place in places:
            place.entry.read_ordinal = _read_ordinal(place, counts.get(place.conversation), others)

    async def _others(
        self, places: Sequence[Beyond], counts: Mapping[str, UnreadCount]
    ) -> Mapping[MessageKey, StoredMessage]:
        """Entries that are needed besides, without their content: what CHANGEs with a mention change, and what stands
        behind read positions that the counts do not begin at.
        """
        keys = {
            (place.conversation, act_in(mention.act).seq)
            for place in places
            if place.conversation in counts
            for mention in counts[place.conversation].mentions
            if mention.act
        }
        keys.update(place.next_key for place in places if _is_in_doubt(place, counts.get(place.conversation)))
        return await self._repository.messages.get(list(keys), content_max=0) if keys else {}


def shares(lengths: Sequence[int]) -> list[int]:
    """How many entries of each are looked at: all, as long as that is not too much; long ones give way to others."""
    limits = [0] * len(lengths)
    left = TOTAL_MAX
    for done, place in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        limits[place] = max(1, min(lengths[place], LOOK_MAX, left // (len(lengths) - done)))
        left -= limits[place]
    return limits


def _beyond(entry: Entry, hidden: HiddenSeqs) -> Beyond:
    read = min(max(entry.me.read_seq, entry.record.first_seq - 1), entry.record.head)
    return Beyond(entry, read, max(read, entry.me.joined_seq - 1, hidden.through), hidden)


def _within(place: Beyond, limit: int) -> frozenset[int]:
    """What is hidden of the entries that are looked at."""
    end = place.after + limit
    return frozenset(seq for seq in place.hidden.seqs if place.after < seq <= end)


def _rest(place: Beyond, count: UnreadCount, limit: int) -> int:
    """What counts as unread behind the entries that were looked at."""
    end = place.after + limit
    if place.length <= limit or not count.last:
        return 0
    # What was looked at and not counted, at the end, is hidden.
    ordinal = count.ordinal + sum(count.last < seq <= end for seq in place.hidden.seqs)
    hidden = sum(end < seq <= place.entry.record.head for seq in place.hidden.seqs)
    return max(0, place.entry.record.ordinal - ordinal - hidden)


def _fill_mentions(place: Beyond, count: UnreadCount, others: Mapping[MessageKey, StoredMessage], now_ms: int) -> None:
    mentions = [
        mention.seq
        for mention in count.mentions
        if not mention.act or _is_shown(place, others.get((place.conversation, act_in(mention.act).seq)), now_ms)
    ]
    place.entry.unread_mentions = min(len(mentions), MENTIONS_TOLD)
    place.entry.first_mention_seq = mentions[0] if mentions else 0


def _is_shown(place: Beyond, target: StoredMessage | None, now_ms: int) -> bool:
    """Whether what a CHANGE changes is there for this reader."""
    if target is None or target.seq < place.entry.me.joined_seq or place.hidden.hides(target.seq):
        return False
    state = state_of(target, now_ms)
    return not (state and state.recalled_by)


def _is_in_doubt(place: Beyond, count: UnreadCount | None) -> bool:
    """Whether the ordinal of the read position does not follow from what was counted."""
    record = place.entry.record
    if place.read >= record.head or record.ordinal == record.head:
        return False
    return count is None or not count.last or place.after > place.read


def _read_ordinal(place: Beyond, count: UnreadCount | None, others: Mapping[MessageKey, StoredMessage]) -> int:
    """How many entries up to the read position count as unread for somebody."""
    record = place.entry.record
    changes = record.head - record.ordinal
    if place.read < record.head and changes:
        following = others.get(place.next_key)
        if following is not None:
            changes = following.before
        elif count is not None and count.last:
            changes = count.before
    return max(0, place.read - changes)
