"""The inbox numbers of one device: which came, which are missing, up to where everything was taken. Pure.

Guarantees: items leave in order of their numbers, each number once, whatever came twice or out of order; `cursor` never
passes a number that the application has not taken. A number that a page of the server leaves out is skipped only when
the server says that old entries are gone, when it shows none but says that it looked further (`next`), or after the
same hole was seen three times. So a page that can move this device always does.

Does not know: conversations (order.py), time and requests (feed.py).

    1 … cursor … tip … ahead … head
        taken    in      beyond  the server's highest,
                 order,  a gap   as far as it told
                 not all
                 taken
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from tidings_protocol import client_pb2 as pb

STUBBORN = 3


@dataclass(frozen=True, slots=True)
class Item:
    """One place in one conversation. `message` None: this client sent it and knows. `number` 0: not from the inbox."""

    conversation: str
    seq: int
    message: pb.Message | None
    number: int = 0


class Inbox:
    def __init__(self, cursor: int, ahead_max: int) -> None:
        self.tip = cursor
        self.head = cursor
        self._ahead: dict[int, Item] = {}
        self._ahead_max = ahead_max
        self._untaken: OrderedDict[int, None] = OrderedDict()
        self._hole = 0
        self._hole_seen = 0

    @property
    def cursor(self) -> int:
        """Everything up to here was taken."""
        return next(iter(self._untaken)) - 1 if self._untaken else self.tip

    @property
    def behind(self) -> bool:
        """Whether the server has (or had) more than what is here in order."""
        return self.head > self.tip

    @property
    def missing(self) -> int:
        """The highest number that the server told of and that is not here."""
        missing = self.head
        while missing in self._ahead:
            missing -= 1
        return missing

    def note_head(self, head: int) -> None:
        self.head = max(self.head, head)

    def push(self, item: Item) -> Iterator[Item]:
        """One entry came; out come those that are now in order."""
        self.note_head(item.number)
        if item.number <= self.tip:
            return
        if item.number > self.tip + 1:
            if len(self._ahead) < self._ahead_max:
                self._ahead.setdefault(item.number, item)
            return
        yield self._accept(item)
        yield from self._follow()

    def page(self, after: int, page: pb.Page, items: list[Item]) -> Iterator[Item]:
        """A page of a sync came: entries beyond `after`, ascending. Out come those that are now in order."""
        self.note_head(page.head)
        for item in items:
            if item.number > self.tip + 1:
                if not self._may_skip(page.truncated and after <= self.tip):
                    break
                yield from self._skip_to(item.number - 1)
            yield from self.push(item)
        if (page.truncated or not items) and after <= self.tip:
            # What it passed without showing it is gone by retention; behind the last page, everything is.
            gone = page.truncated and not page.more and not items
            passed = page.head if gone else min(page.next, page.head)
            if passed > self.tip:
                yield from self._skip_to(passed)

    def taken(self, number: int) -> None:
        """The application has it, or need not see it."""
        self._untaken.pop(number, None)

    def _may_skip(self, truncated: bool) -> bool:
        if truncated:
            return True
        if self._hole != self.tip:
            self._hole, self._hole_seen = self.tip, 0
        self._hole_seen += 1
        return self._hole_seen >= STUBBORN

    def _accept(self, item: Item) -> Item:
        self.tip = item.number
        self._untaken[item.number] = None
        return item

    def _follow(self) -> Iterator[Item]:
        while (item := self._ahead.pop(self.tip + 1, None)) is not None:
            yield self._accept(item)

    def _skip_to(self, tip: int) -> Iterator[Item]:
        """Numbers up to `tip` that are not here do not exist; those that are here come out in order."""
        for number in sorted(number for number in self._ahead if number <= tip):
            yield self._accept(self._ahead.pop(number))
        self.tip = max(self.tip, tip)
        yield from self._follow()
