"""What came to the set of a message and went since the log announced it last, as the next announcement tells it.

Guarantees: pure; what came and went again is no news; at most REACTED_MAX of each are told, whatever happened.
Does not know: counts (tally.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tidings_protocol import client_pb2

REACTED_MAX: Final = 20

_One = client_pb2.Change.Reacted.One
_Pair = tuple[str, str]


class News:
    """`by`: who acted last; empty: nobody is known to have acted. `acts`: the last of those that it was made of, by
    user and client id.
    """

    __slots__ = ("_added", "_removed", "acts", "by")

    def __init__(self, by: str = "") -> None:
        self.by = by
        self.acts: dict[_Pair, None] = {}
        self._added: dict[_Pair, None] = {}
        self._removed: dict[_Pair, None] = {}

    def came(self, user: str, reaction: str) -> None:
        """One was added."""
        self.by = user
        _note((user, reaction), self._added, self._removed)

    def went(self, user: str, reaction: str) -> None:
        """One was removed."""
        self.by = user
        _note((user, reaction), self._removed, self._added)

    def note(self, user: str, client_id: str) -> None:
        """Made by this act."""
        self.acts[user, client_id] = None
        if len(self.acts) > REACTED_MAX:
            del self.acts[next(iter(self.acts))]

    def reacted(self) -> client_pb2.Change.Reacted:
        """What is told of it."""
        return client_pb2.Change.Reacted(added=_ones(self._added), removed=_ones(self._removed))


def _note(pair: _Pair, here: dict[_Pair, None], there: dict[_Pair, None]) -> None:
    if pair in there:
        del there[pair]
    elif len(here) < REACTED_MAX:
        here[pair] = None


def _ones(pairs: Iterable[_Pair]) -> list[_One]:
    return [_One(user=user, reaction=reaction) for user, reaction in pairs]
