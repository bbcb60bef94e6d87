"""The watchers of users' presence, and what the watchers were shown last.

Theory of operation. A session that begins makes its user online, and the watchers are shown that at once. A session
that ends, or a node that dies, makes the user offline only if there is no other session, which only the store of
sessions knows. So the users concerned are then asked about (`Followup.ASK`), and the watchers are shown the answer if
it differs from what they were shown last. A watch is entered before its first question is asked: so no change in
between is missed.

Guarantees: one connection watches at most `watched_max` users. A watcher is shown changes only. No entry outlives its
last watcher.

Does not know: sessions, how to ask, frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

C = TypeVar("C")


class Followup(Enum):
    """What is to be done about a change of a session."""

    NOTHING = "nothing"
    TELL = "tell"
    ASK = "ask"


@dataclass(slots=True)
class _Watched(Generic[C]):
    watchers: dict[C, None]
    online: bool | None = None  # None: no answer yet


class PresenceWatchers(Generic[C]):
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

    def watchers_of(self, user: str) -> Iterable[C]:
        """The connections that watch this user, in the order in which they began."""
        watched = self._users.get(user)
        return watched.watchers if watched else ()

    def session_changed(self, user: str, *, up: bool) -> Followup:
        """What is to be done now that a session of this user began or ended."""
        watched = self._users.get(user)
        if watched is None:
            return Followup.NOTHING
        if not up:
            return Followup.ASK
        if watched.online:
            return Followup.NOTHING
        watched.online = True
        return Followup.TELL

    def learn(self, user: str, *, online: bool) -> bool:
        """Takes an answer; True if the watchers were shown another one before."""
        watched = self._users.get(user)
        if watched is None:
            return False
        known, watched.online = watched.online, online
        return known is not None and known != online

    def online(self) -> list[str]:
        """The watched users that may be online: these are asked about when a node dies."""
        return [user for user, watched in self._users.items() if watched.online is not False]

    def _drop(self, connection: C, user: str) -> None:
        watched = self._users.get(user)
        if watched is not None:
            watched.watchers.pop(connection, None)
            if not watched.watchers:
                del self._users[user]
