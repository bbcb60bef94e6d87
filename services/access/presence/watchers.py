"""Who watches whom, and what the watchers were told last.

Theory of operation. A session that begins makes its user online: that is told at once. A session that ends, or a node
that dies, makes the user offline only if there is no other session, which only the store of sessions knows: so then
the users concerned are asked about (`Verdict.ASK`), and what comes back is told if it differs from what was told last.
A watch is entered before the first answer is asked for: a change in between is not missed.

Guarantees: at most `watched_max` users a connection. A watcher is told of changes only. No entry outlives its last
watcher.

Does not know: sessions, how to ask, frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

C = TypeVar("C")


class Verdict(Enum):
    """What a change of a session means."""

    NOTHING = "nothing"
    TELL = "tell"
    ASK = "ask"


@dataclass(slots=True)
class _Watched(Generic[C]):
    watchers: dict[C, None]
    online: bool | None = None  # None: no answer yet


class Watches(Generic[C]):
    """Of all connections of a node."""

    __slots__ = ("_by_connection", "_users", "_watched_max")

    def __init__(self, *, watched_max: int = 500) -> None:
        self._watched_max = watched_max
        self._users: dict[str, _Watched[C]] = {}
        self._by_connection: dict[C, set[str]] = {}

    def __len__(self) -> int:
        return len(self._users)

    def watch(self, connection: C, users: Iterable[str]) -> bool:
        """From now on; False, and nothing changed, if that would be more than one connection may watch."""
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
        mine = self._by_connection.get(connection)
        if mine is None:
            return
        for user in mine.intersection(users):
            mine.discard(user)
            self._drop(connection, user)
        if not mine:
            del self._by_connection[connection]

    def forget(self, connection: C) -> None:
        """The connection ended."""
        for user in self._by_connection.pop(connection, ()):
            self._drop(connection, user)

    def watchers(self, user: str) -> Iterable[C]:
        watched = self._users.get(user)
        return watched.watchers if watched else ()

    def session_changed(self, user: str, *, up: bool) -> Verdict:
        """A session of this user began or ended."""
        watched = self._users.get(user)
        if watched is None:
            return Verdict.NOTHING
        if not up:
            return Verdict.ASK
        if watched.online:
            return Verdict.NOTHING
        watched.online = True
        return Verdict.TELL

    def learn(self, user: str, *, online: bool) -> bool:
        """An answer came; True: the watchers were told something else."""
        watched = self._users.get(user)
        if watched is None:
            return False
        known, watched.online = watched.online, online
        return known is not None and known != online

    def online(self) -> list[str]:
        """Watched users that are believed to be online: to be asked about when a node dies."""
        return [user for user, watched in self._users.items() if watched.online is not False]

    def _drop(self, connection: C, user: str) -> None:
        watched = self._users.get(user)
        if watched is not None:
            watched.watchers.pop(connection, None)
            if not watched.watchers:
                del self._users[user]
