"""Who writes to whom in a crowd: so many pairs talk at a time, each a few messages, then another pair does. Pure.

So nearly everybody is silent, as in life, a conversation has several messages, and its first one, which costs more than
the others, is one of `MESSAGES`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

PAIRS: Final = 100  # that talk at a time
MESSAGES: Final = 5  # of a talk


@dataclass(slots=True)
class _Talk:
    one: int
    other: int
    left: int = MESSAGES


class Talks:
    """Pairs of the first `users` numbers, of which there are two or more."""

    def __init__(self, users: int, chance: random.Random) -> None:
        self._users = users
        self._chance = chance
        self._talks = [self._new() for _ in range(PAIRS)]

    def next(self) -> tuple[int, int]:
        """The sender and the receiver of the next message."""
        place = self._chance.randrange(PAIRS)
        talk = self._talks[place]
        talk.left -= 1
        if not talk.left:
            self._talks[place] = self._new()
        return (talk.one, talk.other) if self._chance.random() < 0.5 else (talk.other, talk.one)

    def _new(self) -> _Talk:
        one, other = self._chance.sample(range(self._users), 2)
        return _Talk(one, other)
