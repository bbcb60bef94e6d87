"""What waits to be told, in bounded memory.

    stored, changed ──▶ rows, changes ┐
    loaded, a gap ─────▶ debts ───────┴──▶ take, in the order of coming ──▶ told
          └ no room ─▶ owed: ids alone ──▶ a debt, when there is room ──┘
                        └ no room for ids ─▶ lost: the database is asked who is owed something

A **debt** is what the log has to be read for: all of a conversation that is not told, up to where its memory is now.

Guarantees: pure. What is taken of one conversation follows without a gap on what was told of it: a row that would leave
one makes a debt. What has no room is owed, so nothing is forgotten. `is_told` is never said too early.
Does not know: Kafka, the database.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.storage.events.port import FedChange, FedRow
from services.storage.memory.conversation import CachedConversation

# What an item takes in memory besides its content: measured in bytes, with a message, its ids and two recipients.
ITEM_BYTES = 700
MEMBER_BYTES = 60
OWED_MAX = 100_000
# What is told at once.
ROWS_MAX = 1000
DEBTS_MAX = 10
TAKEN_BYTES_MAX = 4 * 1024 * 1024


@dataclass(slots=True, eq=False)
class Debt:
    """What the log has of a conversation after what is told. `members`: those at `upto`, if memory has all of them."""

    conversation: CachedConversation
    upto: int
    upto_stamp: int
    large_from: int
    members: tuple[str, ...]


Fed = FedRow | FedChange
Item = Fed | Debt


class FeedQueue:
    def __init__(self, bytes_max: int, *, owed_max: int = OWED_MAX) -> None:
        self._bytes_max = bytes_max
        self._owed_max = owed_max
        self._items: deque[Item] = deque()
        self._owed: dict[str, None] = {}
        self._told = 0  # items, since the beginning
        self._taken = 0  # items that are being told
        self._doubt: tuple[int, int | None] | None = None  # from this mark on something is owed, up to which mark
        self.size = 0
        self.lost = 0  # how often there was no room for an id

    def __len__(self) -> int:
        """How many items are not told."""
        return len(self._items) + self._taken

    @property
    def owed(self) -> int:
        return len(self._owed)

    # ---- what comes in

    def stored(self, rows: Sequence[FedRow]) -> None:
        for row in rows:
            conversation, seq = row.conversation, row.message.seq
            if seq <= conversation.fed:
                continue
            if seq > conversation.fed + 1:
                self._owe(conversation)
            elif self._put(row):
                conversation.fed = seq

    def changed(self, changes: Sequence[FedChange]) -> None:
        for change in changes:
            conversation = change.conversation
            if change.stamp <= conversation.fed_stamp:
                continue
            if change.stamp > conversation.fed_stamp + 1:
                self._owe(conversation)  # a change with a notice, or another node's, came between
            elif self._put(change):
                conversation.fed_stamp = change.stamp

    def loaded(self, conversations: Iterable[CachedConversation]) -> None:
        for conversation in conversations:
            if not conversation.is_fed:
                self._owe(conversation)

    def _owe(self, conversation: CachedConversation) -> None:
        members = tuple(conversation.members) if conversation.knows_all else ()
        document = conversation.document
        debt = Debt(conversation, conversation.head, document.stamp, document.large_from, members)
        if self._put(debt):
            conversation.fed, conversation.fed_stamp = debt.upto, debt.upto_stamp

    def _put(self, item: Item) -> bool:
        """Whether the item has a place; if not, its conversation is owed, and so is all that comes of it later."""
        key, size = item.conversation.id, _size_of(item)
        if key not in self._owed and self.size + size <= self._bytes_max:
            self._items.append(item)
            self.size += size
            return True
        self._begin_doubt()
        if len(self._owed) < self._owed_max:
            self._owed[key] = None
        elif key not in self._owed:
            self.lost += 1
        return False

    # ---- what goes out

    def take(self) -> tuple[list[Fed], list[Debt]]:
        """The next to be told: rows and changes, or debts, or nothing. They count until they are `told`."""
        rows: list[Fed] = []
        debts: list[Debt] = []
        size = 0
        while self._items and len(rows) < ROWS_MAX and len(debts) < DEBTS_MAX and size < TAKEN_BYTES_MAX:
            item = self._items[0]
            if isinstance(item, Debt):
                if rows:
                    break
                debts.append(item)
            elif debts:
                break
            else:
                rows.append(item)
            size += _size_of(self._items.popleft())
        self._taken = len(rows) + len(debts)
        self.size -= size
        return rows, debts

    def told(self, told: Sequence[Fed], paid: Sequence[Debt] = (), left: Sequence[Debt] = ()) -> None:
        """All of this is told: what was taken, or a page of each debt. Debts that are `left` come first again."""
        for item in told:
            conversation = item.conversation
            if isinstance(item, FedRow):
                conversation.told = max(conversation.told, item.message.seq)
            else:
                conversation.told_stamp = max(conversation.told_stamp, item.stamp)
        for debt in paid:
            debt.conversation.told = max(debt.conversation.told, debt.upto)
            debt.conversation.told_stamp = max(debt.conversation.told_stamp, debt.upto_stamp)
        self._items.extendleft(reversed(left))
        self.size += sum(map(_size_of, left))
        self._told += self._taken - len(left)
        self._taken = 0
        self._end_doubt()

    def take_owed(self, count: int) -> list[str]:
        """Ids that something is owed of, as long as half of the room is free: load them, and say `loaded`."""
        if self.size * 2 > self._bytes_max:
            return []
        ids = list(self._owed)[:count]
        for key in ids:
            del self._owed[key]
        return ids

    def owe_again(self, ids: Iterable[str]) -> None:
        """These could not be loaded."""
        for key in ids:
            self._begin_doubt()
            self._owed[key] = None

    def found(self) -> None:
        """What was owed is in the queue by now, as debts, if nothing is owed any more."""
        if not self._owed and not self.lost and self._doubt is not None and self._doubt[1] is None:
            self._doubt = (self._doubt[0], self.mark)
            self._end_doubt()

    def _begin_doubt(self) -> None:
        if self._doubt is None or self._doubt[1] is not None:
            self._doubt = (self._doubt[0] if self._doubt else self.mark, None)

    def _end_doubt(self) -> None:
        if self._doubt is not None and self._doubt[1] is not None and self._told >= self._doubt[1]:
            self._doubt = None

    # ---- how far it is

    @property
    def mark(self) -> int:
        """What `is_told` is asked about all that came until now."""
        return self._told + self._taken + len(self._items)

    def has_passed(self, mark: int) -> bool:
        """Whether all that had a place in the queue at this mark is told."""
        return self._told >= mark

    def is_told(self, mark: int) -> bool:
        """Whether all that had come at this mark is told, also what had no place."""
        return self.has_passed(mark) and (self._doubt is None or mark < self._doubt[0])


def _size_of(item: Item) -> int:
    if isinstance(item, FedRow):
        return ITEM_BYTES + len(item.message.content) + len(item.told) + MEMBER_BYTES * len(item.recipients)
    if isinstance(item, FedChange):
        return ITEM_BYTES + sum(map(len, item.acts))
    return ITEM_BYTES + MEMBER_BYTES * len(item.members)
