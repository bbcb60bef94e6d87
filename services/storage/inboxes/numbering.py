"""Numbers of inbox entries: dense, one for each (user, conversation, seq), whoever else writes.

A `CachedInbox` is what the owner of a user has of the inbox in memory: its head and its newest entries. An `InboxPlan`
is one batch on its way into the repository, driven as a `NumberingBatch` (messages/numbering.py) is: plan, insert,
committed; after a conflict or an unknown outcome the shell reads what is new (`CachedInbox.extend`) and plans again.

Guarantees: what is planned follows the head of its inbox without a gap; what is known to be there is not planned again.
An entry that is older than what is in memory counts as not there: the shell looks further back for those marked
`again`, and for those that come so late that their repeat may have been before them and be out of memory already.
Does not know: who owns which user.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from services.storage.repository.records import InboxEntry, MessageKey
from tidings_protocol.ids import slot_of

# What an inbox weighs besides its entries and devices, counted in entries: 1.4 KB, while an entry takes 190 to 210
# bytes (tracemalloc, 8 to 64 entries, each with strings of its own).
OWN_WEIGHT = 8
ENTRY_BYTES = 220
# The latest time so far is noted with each number that has none of these bits.
MARK_MASK = 7
# Of an inbox that was loaded: entries that are not loaded may be newer than the first that is, since clocks of nodes
# differ, and what a take-over settles late stands among what is newer.
LOADED_SLACK_MS = 10_000


class Append(NamedTuple):
    """Asks that this user has an entry for this message. `again`: it may have one already, from long ago. `only_look`:
    tell the number, append nothing. `quiet`: the message is a CHANGE.
    """

    user: str
    conversation: str
    seq: int
    time_ms: int
    again: bool = False
    only_look: bool = False
    quiet: bool = False


class CachedInbox:
    """Head and newest entries of one user. `held`: what some device holds, None until it was loaded; `devices`: those
    that said so since.
    """

    __slots__ = (
        "_capacity",
        "_gone_ms",
        "_gone_upto",
        "_latest_ms",
        "_marks",
        "_newest",
        "_tail",
        "devices",
        "head",
        "held",
        "slot",
        "user",
    )

    def __init__(self, user: str, capacity: int) -> None:
        self.user = user
        self.slot = slot_of(user)
        self.head = 0
        self.held: int | None = None
        self.devices: dict[str, int] = {}
        self._capacity = capacity
        self._tail: deque[MessageKey] = deque()
        # The highest seq of each conversation in the tail: what is above it cannot be in there, which spares the
        # search.
        self._newest: dict[str, int] = {}
        self._latest_ms = 0
        self._marks: deque[tuple[int, int]] = deque()  # (number, the latest time of all entries up to it)
        self._gone_ms = -1  # no entry that is not in memory is newer, nor is one up to `_gone_upto`
        self._gone_upto = 0

    @property
    def weight(self) -> int:
        """What the inbox takes in memory, counted in entries."""
        return len(self._tail) + len(self.devices) + OWN_WEIGHT

    @property
    def floor(self) -> int:
        """Entries up to this number are not in memory."""
        return self.head - len(self._tail)

    def number_of(self, conversation: str, seq: int) -> int:
        """The number of the entry for this message; 0 if it is not among the newest."""
        newest = self._newest.get(conversation)
        if newest is None or seq > newest:
            return 0
        wanted = (conversation, seq)
        for back, entry in enumerate(reversed(self._tail)):
            if entry == wanted:
                return self.head - back
        return 0

    def is_past(self, conversation: str, seq: int, time_ms: int) -> bool:
        """Whether the entry of this message may be there, further back than memory reaches: later messages of its
        conversation are among the newest, or what is out of memory is as new as the message is.
        """
        return seq <= self._newest.get(conversation, 0) or time_ms <= self._gone_ms

    def push(self, conversation: str, seq: int, time_ms: int) -> None:
        """The next entry is durable; `time_ms`: of its message."""
        head = self.head = self.head + 1
        tail, newest = self._tail, self._newest
        tail.append((conversation, seq))
        if time_ms > self._latest_ms:  # noqa: PLR1730 - a call of max costs more than all of this
            self._latest_ms = time_ms
        if head & MARK_MASK == 0:
            self._marks.append((head, self._latest_ms))
        if seq > newest.get(conversation, 0):
            newest[conversation] = seq
        if len(tail) > self._capacity:
            gone, gone_seq = tail.popleft()
            if newest.get(gone) == gone_seq:
                del newest[gone]
            if head - self._capacity > self._gone_upto:
                self._cover_what_is_gone()

    def extend(self, entries: Iterable[InboxEntry]) -> None:
        """Pushes what is new of entries that were read, ascending. A fresh inbox begins with the first of them."""
        for entry in entries:
            if not self.head:
                self.head = entry.number - 1
                if self.head:
                    self._gone_ms = entry.time_ms + LOADED_SLACK_MS
            if entry.number == self.head + 1:
                self.push(entry.conversation, entry.seq, entry.time_ms)

    def _cover_what_is_gone(self) -> None:
        floor = self.floor
        while self._marks and self._marks[0][0] < floor:
            self._marks.popleft()
        # The first mark that is not below what is gone covers it; it may be some entries too late, and so too high.
        self._gone_upto, latest_ms = self._marks[0] if self._marks else (self.head, self._latest_ms)
        self._gone_ms = max(self._gone_ms, latest_ms)

    def between(self, after: int, upto: int) -> list[MessageKey]:
        """Entries `after` < number <= `upto`, as far as they are in memory."""
        floor = self.floor
        first, last = max(after - floor, 0), min(upto, self.head) - floor
        return [self._tail[index] for index in range(first, last)]


class InboxPlan:
    """One batch of appends. `numbers` is aligned with them: 0 while it is open, of what was looked for in vain, and of
    what was removed since.
    """

    def __init__(self, appends: Sequence[Append], inbox_of: Callable[[str], CachedInbox]) -> None:
        self._appends = appends
        self._inbox_of = inbox_of
        self.numbers = [0] * len(appends)
        missing = [index for index, append in enumerate(appends) if not self._look(index, append)]
        self._open = [index for index in missing if not appends[index].only_look]
        self._looking = [index for index in missing if appends[index].only_look]
        self._planned: list[int] = []

    @property
    def open(self) -> list[int]:
        """Indexes of the appends that have no number yet."""
        return self._open

    @property
    def to_search(self) -> list[int]:
        """Indexes of those that may be there, further back than memory reaches: marked `again`, or come so late (a call
        that was under way for long) that what followed them is there already."""
        return [index for index in (*self._open, *self._looking) if self._may_be_there(self._appends[index])]

    def next_entries(self) -> list[InboxEntry]:
        """What to insert now, in this order; empty: nothing is open."""
        heads: dict[str, int] = {}
        keys: set[tuple[str, str, int]] = set()
        entries: list[InboxEntry] = []
        self._planned = []
        self._open = [index for index in self._open if not self._look(index, self._appends[index])]
        for index in self._open:
            user, conversation, seq, time_ms, _, _, quiet = self._appends[index]
            key = (user, conversation, seq)
            if key in keys:
                continue  # the same again: it gets the number of the first when that is in
            keys.add(key)
            heads[user] = number = (heads.get(user) or self._inbox_of(user).head) + 1
            self._planned.append(index)
            entries.append(InboxEntry(user, number, conversation, seq, time_ms, quiet))
        return entries

    def committed(self, count: int) -> None:
        """Notes that the first `count` of the plan are durable."""
        for index in self._planned[:count]:
            user, conversation, seq, time_ms = self._appends[index][:4]
            inbox = self._inbox_of(user)
            inbox.push(conversation, seq, time_ms)
            self.numbers[index] = inbox.head
        self._planned = []
        self._open = [index for index in self._open if not self.numbers[index]]

    def found(self, index: int, number: int) -> None:
        """Notes that the entry was there, further back."""
        self.numbers[index] = number
        self.passed(index)

    def passed(self, index: int) -> None:
        """Notes that the entry was there, and that inbox retention has removed it: it counts as delivered, without a
        number.
        """
        self._open = [each for each in self._open if each != index]
        self._looking = [each for each in self._looking if each != index]

    def learn(self, entries: Sequence[InboxEntry]) -> None:
        """What somebody else, or an insert with an unknown outcome, has written: ascending, all of one user."""
        if not entries:
            return
        self._inbox_of(entries[0].user).extend(entries)
        there = {(entry.user, entry.conversation, entry.seq): entry.number for entry in entries}
        for index in self._open:
            self.numbers[index] = there.get(self._appends[index][:3], 0)
        self._open = [index for index in self._open if not self.numbers[index]]

    def finish(self) -> None:
        """Looks once more for what is only looked for: it may have come with this very batch."""
        for index in self._looking:
            self._look(index, self._appends[index])

    def _may_be_there(self, append: Append) -> bool:
        return append.again or self._inbox_of(append.user).is_past(append.conversation, append.seq, append.time_ms)

    def _look(self, index: int, append: Append) -> bool:
        number = self._inbox_of(append.user).number_of(append.conversation, append.seq)
        if number:
            self.numbers[index] = number
        return number > 0
