"""Which connections this node has: by user, and by the large groups that its users are members of.

Guarantees: a user's connections in the order in which they came; no entry outlives the last of them.

Does not know: what a connection is, who owns a user, what is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

C = TypeVar("C")


class Hub(Generic[C]):
    """The node's index. One tuple a user: most have one connection, and a tuple is the smallest thing that holds it."""

    __slots__ = ("_changes", "_groups", "_groups_of", "_users")

    def __init__(self) -> None:
        self._changes: dict[int, set[str]] = {}  # of those who read memberships elsewhere just now
        self._users: dict[str, tuple[C, ...]] = {}
        self._groups: dict[str, set[str]] = {}
        self._groups_of: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._users)

    def __contains__(self, user: object) -> bool:
        return user in self._users

    def add(self, user: str, connection: C) -> bool:
        """True: it is the user's first here."""
        known = self._users.get(user, ())
        self._users[user] = (*known, connection)
        return not known

    def remove(self, user: str, connection: C) -> bool:
        """True: it was the user's last here. One that is not there: False."""
        known = self._users.get(user, ())
        left = tuple(other for other in known if other is not connection)
        if left:
            self._users[user] = left
            return False
        if not known:
            return False
        del self._users[user]
        self._note_change(user)
        for group in self._groups_of.pop(user, ()):
            self._drop(group, user)
        return True

    def connections_of(self, user: str) -> tuple[C, ...]:
        """The user's connections."""
        return self._users.get(user, ())

    def users(self) -> Iterable[str]:
        """All users that are connected here."""
        return self._users.keys()

    def connections(self) -> Iterator[C]:
        """All connections of this node."""
        for connections in self._users.values():
            yield from connections

    def join(self, group: str, user: str) -> None:
        """The user reads this large group; one who is not connected here is not indexed."""
        if user in self._users:
            self._note_change(user)
            self._groups.setdefault(group, set()).add(user)
            self._groups_of.setdefault(user, set()).add(group)

    def leave(self, group: str, user: str) -> None:
        """The user is no member of the large group any more."""
        self._note_change(user)
        groups = self._groups_of.get(user)
        if groups is not None and group in groups:
            groups.discard(group)
            if not groups:
                del self._groups_of[user]
            self._drop(group, user)

    def readers(self, group: str) -> Iterable[str]:
        """The users here that read this large group."""
        return self._groups.get(group, ())

    def groups_of(self, user: str) -> Iterable[str]:
        """The large groups that this user reads."""
        return self._groups_of.get(user, ())

    @contextmanager
    def changes(self) -> Iterator[set[str]]:
        """Gathers whose groups change meanwhile, or who is gone: what was read of them elsewhere may be older."""
        gathered: set[str] = set()
        self._changes[id(gathered)] = gathered
        try:
            yield gathered
        finally:
            del self._changes[id(gathered)]

    @property
    def group_count(self) -> int:
        return len(self._groups)

    def _note_change(self, user: str) -> None:
        for gathered in self._changes.values():
            gathered.add(user)

    def _drop(self, group: str, user: str) -> None:
        members = self._groups.get(group)
        if members is not None:
            members.discard(user)
            if not members:
                del self._groups[group]
