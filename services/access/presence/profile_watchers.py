"""The watchers of users' profiles, and which version they were shown last.

Guarantees: one connection watches at most `watched_max` users. A version is shown once, and none after a later one;
what was removed (version 0) is shown whenever it is told. No entry outlives its last watcher.

Does not know: how profiles come here, frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from services.access.presence.watches import Watches

C = TypeVar("C")


class ProfileWatchers(Generic[C]):
    """The watchers among all connections of a node; its length is the number of watched users."""

    __slots__ = ("_versions", "_watches")

    def __init__(self, *, watched_max: int = 500) -> None:
        self._watches: Watches[C] = Watches(watched_max=watched_max)
        self._versions: dict[str, int] = {}  # that were shown last

    def __len__(self) -> int:
        return len(self._watches)

    def watch(self, connection: C, users: Iterable[str]) -> bool:
        """Makes the connection a watcher of these users; False, without a change, if those were more than it may."""
        return self._watches.begin(connection, users) is not None

    def unwatch(self, connection: C, users: Iterable[str]) -> None:
        """Ends the connection's watches of these users."""
        self._drop(self._watches.end(connection, users))

    def forget(self, connection: C) -> None:
        """Ends all watches of a connection that has ended."""
        self._drop(self._watches.end_all(connection))

    def users(self) -> list[str]:
        """All who are watched."""
        return self._watches.users()

    def changed(self, user: str, version: int) -> Sequence[C]:
        """The connections that are to be shown this version, in the order in which they began to watch."""
        if user not in self._watches or 0 < version <= self._versions.get(user, 0):
            return ()
        self._versions[user] = version
        return list(self._watches.watchers_of(user))

    def _drop(self, users: Iterable[str]) -> None:
        """Forgets those of these whom nobody watches any more."""
        for user in users:
            if user not in self._watches:
                self._versions.pop(user, None)
