"""What a message was given: how often each reaction, by whom first, in the order in which each first came.

    place   when a reaction came, in microseconds since 1970: of one message each later one has a higher place
    since   the place at which a reaction of this kind first came, since when it never was gone

Guarantees: pure. Who is told as the first of a reaction is right, or `lacking` says that it must be read again. What
was gone and comes back stands at the end.
Does not know: who gave what (the set in the database does), who may.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.storage.repository.reactions import FIRST_USERS, ReactionCount
from services.storage.repository.records import MessageKey
from tidings_protocol import client_pb2


@dataclass(slots=True)
class Counted:
    """One reaction. `users`: the first of them."""

    count: int
    since: int
    users: list[str] = field(default_factory=list)

    @property
    def is_lacking(self) -> bool:
        """Whether more of the first could be told than are known."""
        return len(self.users) < min(self.count, FIRST_USERS)


class Tally:
    """`target`: whose."""

    __slots__ = ("_counts", "_place", "target")

    def __init__(self, target: MessageKey, counts: Iterable[ReactionCount] = ()) -> None:
        """`counts`: in their order."""
        self.target = target
        self._counts = {each.reaction: Counted(each.number, each.since, list(each.users)) for each in counts}
        self._place = max((each.since for each in self._counts.values()), default=0)

    def __len__(self) -> int:
        """How many different reactions there are."""
        return len(self._counts)

    def __contains__(self, reaction: str) -> bool:
        return reaction in self._counts

    @property
    def lacking(self) -> list[str]:
        """The reactions of which the first users are to be read again."""
        return [reaction for reaction, counted in self._counts.items() if counted.is_lacking]

    def add(self, user: str, reaction: str, now_us: int) -> tuple[int, int]:
        """One that was not there comes; its place, and since when there are such."""
        self._place = max(now_us, self._place + 1)
        counted = self._counts.setdefault(reaction, Counted(0, self._place))
        if not counted.is_lacking and len(counted.users) < FIRST_USERS:
            counted.users.append(user)
        counted.count += 1
        return self._place, counted.since

    def remove(self, user: str, reaction: str) -> None:
        """One that was there goes."""
        counted = self._counts.get(reaction)
        if counted is None:
            return  # by another node, of which this one does not know yet
        counted.count -= 1
        if counted.count <= 0:
            del self._counts[reaction]
        elif user in counted.users:
            counted.users.remove(user)

    def learn(self, reaction: str, users: Sequence[str]) -> None:
        """These were read as the first of a reaction."""
        if (counted := self._counts.get(reaction)) is not None:
            counted.users = list(users)
            counted.count = max(counted.count, len(users))

    def shown(self) -> list[client_pb2.Reaction]:
        """As everybody is shown it."""
        return [
            client_pb2.Reaction(reaction=reaction, count=counted.count, users=counted.users)
            for reaction, counted in self._counts.items()
        ]
