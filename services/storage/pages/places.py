"""The order of a user's list of conversations, and where one of its pages begins.

A list is read in two parts. The first goes from the newest down. What becomes active meanwhile moves to where the
reader has been already; so the second part brings what has moved since the list was begun: conversations with inbox
entries after the number that was the last then, and large groups, which have no entries, with a later message.

    first part    newest ───▶ oldest             second part    number at the beginning ───▶ present one
                                                                large groups, from the time of the beginning on

Guarantees: pure. Whatever moves while a list is read, each conversation that is in it at the beginning is on a page;
what moved may be on two.
Does not know: where times come from.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tidings_protocol.errors import BadRequest

DIGITS_MAX = 19


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation stands in its user's list: newest first, then by id."""

    last_ms: int
    conversation: str

    def __lt__(self, other: Place) -> bool:
        return self.key < other.key

    def __str__(self) -> str:
        return f"{self.last_ms}~{self.conversation}"

    @property
    def key(self) -> tuple[int, str]:
        return -self.last_ms, self.conversation

    @staticmethod
    def parse(text: str) -> Place:
        """Raises BadRequest for what is no `next` of an earlier page."""
        last_ms, _, conversation = text.partition("~")
        if not conversation:
            raise _no_token()
        return Place(_number(last_ms), conversation)


# Before all that is read upwards.
NOWHERE = Place(0, "-")


@dataclass(frozen=True, slots=True)
class ListToken:
    """Where the next page begins: the last place that was shown, and when the list was begun.

    `number` is the inbox entry up to which all is accounted for, `since_ms` the time of the beginning. In the second
    part `place` is the last large group shown, upwards. `number` None: a token of the version before, which has no
    second part.
    """

    place: Place
    number: int | None
    since_ms: int
    is_second: bool = False

    def __str__(self) -> str:
        if self.number is None:
            return str(self.place)
        return f"{self.place}~{self.number}~{self.since_ms}{'~2' if self.is_second else ''}"

    @property
    def second(self) -> ListToken:
        """Where the second part begins."""
        return replace(self, place=NOWHERE, is_second=True)

    def at(self, place: Place) -> ListToken:
        return replace(self, place=place)

    @staticmethod
    def parse(text: str) -> ListToken:
        """Raises BadRequest for what is no `next` of an earlier page."""
        parts = text.split("~")
        place = Place.parse("~".join(parts[:2]))
        match parts[2:]:
            case []:
                return ListToken(place, None, 0)
            case [number, since_ms]:
                return ListToken(place, _number(number), _number(since_ms))
            case [number, since_ms, "2"]:
                return ListToken(place, _number(number), _number(since_ms), is_second=True)
        raise _no_token()


class Places:
    """Conversations with the times of their last messages, in their order."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}
        self._order: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._times)

    def fill(self, times: Iterable[tuple[str, int]]) -> None:
        """Adds many that are not there yet; `sort` when all are in."""
        part = sorted((-last_ms, conversation) for conversation, last_ms in times)
        self._times.update((conversation, -back) for back, conversation in part)
        self._order += part

    def sort(self) -> None:
        # Of sorted parts: a merge, which is quick.
        self._order.sort()

    def move(self, conversation: str, last_ms: int, *, known_only: bool = False) -> None:
        """Moves a conversation up, never down. One that is not there comes in, unless `known_only`."""
        before = self._times.get(conversation)
        if before is None:
            if known_only:
                return
        elif before >= last_ms:
            return
        else:
            del self._order[bisect_left(self._order, (-before, conversation))]
        self._times[conversation] = last_ms
        insort(self._order, (-last_ms, conversation))

    def after(self, place: Place | None, count: int) -> list[Place]:
        """The next places after this one, `count` at most; None: from the newest on."""
        start = 0 if place is None else bisect_right(self._order, place.key)
        return [Place(-back, conversation) for back, conversation in self._order[start : start + count]]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise _no_token()
    return int(text)


def _no_token() -> BadRequest:
    return BadRequest("`after` is not the `next` of an earlier page: pass `next` unchanged, or leave `after` out")
