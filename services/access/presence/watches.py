"""Which connections watch which users.

Guarantees: one connection watches at most `watched_max` users; watchers come in the order in which they began. No entry
outlives its last watcher.

Does not know: what is watched of a user (watchers.py, profile_watchers.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Generic, TypeVar

C = TypeVar("C")


class Watches(Generic[C]):
    """The watches of all connections of a node; its length is the number of watched users."""

    __slots__ = ("_by_connection", "_by_user", "_watched_max")

    def __init__(self, *, watched_max: int) -> None:
        self._watched_max = watched_max
        self._by_user: dict[str, dict[C, None]] = {}
        self._by_connection: dict[C, set[str]] = {}

    def __len__(self) -> int:
        return len(self._by_user)

    def __contains__(self, user: str) -> bool:
        return user in self._by_user

    def begin(self, connection: C, users: Iterable[str]) -> set[str] | None:
        """Makes the connection a watcher of these users; gives those that it did not watch before. None, without a
        change: they would be more than it may.
        """
        mine = self._by_connection.get(connection, set())
        new = set(users) - mine
        if len(mine) + len(new) > self._watched_max:
            return None
        if new:
            self._by_connection[connection] = mine | new
        for user in new:
            self._by_user.setdefault(user, {})[connection] = None
        return new

    def end(self, connection: C, users: Iterable[str]) -> set[str]:
        """Ends the connection's watches of these users; gives those that it watched."""
        mine = self._by_connection.get(connection)
        if mine is None:
            return set()
        ended = mine.intersection(users)
        mine -= ended
        if not mine:
            del self._by_connection[connection]
        for user in ended:
            watchers = self._by_user[user]
            del watchers[connection]
            if not watchers:
                del self._by_user[user]
        return ended

    def end_all(self, connection: C) -> set[str]:
        """Ends all watches of the connection; gives whom it watched."""
        return self.end(connection, tuple(self.of(connection)))

    def of(self, connection: C) -> Collection[str]:
        """Whom the connection watches."""
        return self._by_connection.get(connection, ())

    def watchers_of(self, user: str) -> Iterable[C]:
        """The connections that watch this user."""
        return self._by_user.get(user, ())

    def users(self) -> list[str]:
        """All who are watched."""
        return list(self._by_user)

    def all(self) -> list[tuple[C, list[str]]]:
        """All connections that watch somebody, and whom."""
        return [(connection, list(users)) for connection, users in self._by_connection.items()]
