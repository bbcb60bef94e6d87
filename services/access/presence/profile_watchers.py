"""The watchers of users' profiles, and which version they were shown last.

Guarantees: one connection watches at most `watched_max` users. A version is shown once, and none after a later one;
what was removed (version 0) is shown whenever it is told. No entry outlives its last watcher.

Does not know: how profiles come here, frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C")


@dataclass(slots=True)
class _Watched(Generic[C]):
    watchers: dict[C, None]
    version: int = 0  # that was shown last; 0: none was


class ProfileWatchers(Generic[C]):
    """The watchers among all connections of a node; its length is the number of watched users."""

    __slots__ = ("_by_connection", "_users", "_watched_max")

    def __init__(self, *, watched_max: int = 500) -> None:
        self._watched_max = watched_max
        self._users: dict[str, _Watched[C]] = {}
        self._by_connection: dict[C, set[str]] = {}

    def __len__(self) -> int:
        return len(self._users)

    def watch(self, connection: C, users: Iterable[str]) -> bool:
        """Makes the connection a watcher of these users; False, without a change, if those were more than it may."""
        mine = self._by_connection.get(connection, set())
        wanted = mine.union(users)
        if len(wanted) > self._watched_max:
            return False
        if wanted:
            self._by_connection[connection] = wanted
        for user in wanted - mine:
            self._users.setdefault(user, _Watched({})).watchers[connection] = None
        return True

    def unwatch(self, connection: C, users: Iterable[str]) -> None:
        """Ends the connection's watches of these users."""
        mine = self._by_connection.get(connection)
        if mine is None:
            return
        for user in mine.intersection(users):
            mine.discard(user)
            self._drop(connection, user)
        if not mine:
            del self._by_connection[connection]

    def forget(self, connection: C) -> None:
        """Ends all watches of a connection that has ended."""
        for user in self._by_connection.pop(connection, ()):
            self._drop(connection, user)

    def users(self) -> list[str]:
        """All who are watched."""
        return list(self._users)

    def changed(self, user: str, version: int) -> Sequence[C]:
        """The connections that are to be shown this version, in the order in which they began to watch."""
        watched = self._users.get(user)
        if watched is None or 0 < version <= watched.version:
            return ()
        watched.version = version
        return list(watched.watchers)

    def _drop(self, connection: C, user: str) -> None:
        watched = self._users.get(user)
        if watched is not None:
            watched.watchers.pop(connection, None)
            if not watched.watchers:
                del self._users[user]
