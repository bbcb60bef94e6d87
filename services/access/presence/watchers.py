"""The watchers of users' presence, and what the watchers were shown last.

Theory of operation. A session that begins makes its user online, and the watchers are shown that at once. A session
that ends, or a node that dies, makes the user offline only if there is no other session, which only the store of
sessions knows. So the users concerned are then asked about (`Followup.ASK`), and the watchers are shown the answer if
it differs from what they were shown last. A watch is entered before its first question is asked: so no change in
between is missed.

Guarantees: one connection watches at most `watched_max` users. A watcher is shown changes only. No entry outlives its
last watcher. A watcher whom the user blocks is among those who are shown something no more.

Does not know: sessions, how to ask, frames.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from enum import Enum
from typing import Generic, TypeVar

from services.access.presence.watches import Watches

C = TypeVar("C")


class Followup(Enum):
    """What is to be done about a change of a session."""

    NOTHING = "nothing"
    TELL = "tell"
    ASK = "ask"


class PresenceWatchers(Generic[C]):
    """The watchers among all connections of a node; its length is the number of watched users."""

    __slots__ = ("_hidden", "_online", "_unsure", "_watches")

    def __init__(self, *, watched_max: int = 500) -> None:
        self._watches: Watches[C] = Watches(watched_max=watched_max)
        self._online: dict[str, bool] = {}  # of the watched; who is not there was not answered about yet
        self._hidden: dict[C, set[str]] = {}
        self._unsure: dict[C, dict[str, bool | None]] = {}  # whether it is hidden since, if there were news

    def __len__(self) -> int:
        return len(self._watches)

    def watch(self, connection: C, users: Iterable[str]) -> bool:
        """Makes the connection a watcher of these users; False, without a change, if those were more than it may."""
        new = self._watches.begin(connection, users)
        if new:
            self._unsure.setdefault(connection, {}).update(dict.fromkeys(new))
        return new is not None

    def unwatch(self, connection: C, users: Iterable[str]) -> None:
        """Ends the connection's watches of these users."""
        ended = self._watches.end(connection, users)
        for user in ended:
            self._settle(connection, user)
            self._set_hidden(connection, user, hidden=False)
        self._drop(ended)

    def forget(self, connection: C) -> None:
        """Ends all watches of a connection that has ended."""
        self._hidden.pop(connection, None)
        self._unsure.pop(connection, None)
        self._drop(self._watches.end_all(connection))

    def watchers_of(self, user: str) -> Iterable[C]:
        """The connections that watch this user, in the order in which they began."""
        return self._watches.watchers_of(user)

    def shown_to(self, user: str) -> list[C]:
        """Those of the watchers who are shown changes of this user."""
        watchers = list(self.watchers_of(user))
        if not self._hidden and not self._unsure:
            return watchers
        return [each for each in watchers if not self.is_hidden(each, user) and not self._is_unsure(each, user)]

    def watches(self) -> list[tuple[C, list[str]]]:
        """All connections that watch somebody, and whom."""
        return self._watches.all()

    def is_hidden(self, connection: C, user: str) -> bool:
        """Whether this user looks offline to the connection, whatever they are."""
        return user in self._hidden.get(connection, ())

    def has_unsure(self, user: str) -> bool:
        """Whether somebody waits for the answer to the first question about this user."""
        return bool(self._unsure) and any(self._is_unsure(each, user) for each in self.watchers_of(user))

    def answered(self, connection: C, users: Iterable[str], hiding: Collection[str]) -> list[str]:
        """Logic has answered the connection about these users, of whom some hide from it. Gives those of whom the
        answer is behind: they have blocked its user since, or do so no more.
        """
        mine = self._watches.of(connection)
        behind: list[str] = []
        for user in users:
            if user in mine:
                since = self._settle(connection, user)
                hidden = user in hiding if since is None else since
                self._set_hidden(connection, user, hidden=hidden)
                if hidden != (user in hiding):
                    behind.append(user)
        return behind

    def block_changed(self, user: str, concerns: Callable[[C], bool], *, blocked: bool) -> list[C]:
        """The user blocks those whom it concerns, or does so no more; gives the watchers who are shown that."""
        changed: list[C] = []
        for connection in self.watchers_of(user):
            if not concerns(connection):
                continue
            if self._is_unsure(connection, user):
                self._unsure[connection][user] = blocked
            elif self._set_hidden(connection, user, hidden=blocked):
                changed.append(connection)
        return changed

    def online_of(self, user: str) -> bool | None:
        """Whether the user is online, as far as it is known."""
        return self._online.get(user)

    def session_changed(self, user: str, *, up: bool) -> Followup:
        """What is to be done now that a session of this user began or ended."""
        if user not in self._watches:
            return Followup.NOTHING
        if not up:
            return Followup.ASK
        if self._online.get(user):
            return Followup.NOTHING
        self._online[user] = True
        return Followup.TELL

    def learn(self, user: str, *, online: bool) -> bool:
        """Takes an answer; True if the watchers were shown another one before."""
        if user not in self._watches:
            return False
        known = self._online.get(user)
        self._online[user] = online
        return known is not None and known != online

    def online(self) -> list[str]:
        """The watched users that may be online: these are asked about when a node dies."""
        return [user for user in self._watches.users() if self._online.get(user) is not False]

    def _is_unsure(self, connection: C, user: str) -> bool:
        return user in self._unsure.get(connection, ())

    def _settle(self, connection: C, user: str) -> bool | None:
        """It is sure now what the connection may be shown; gives what the news have said meanwhile."""
        unsure = self._unsure.get(connection)
        if unsure is None:
            return None
        said = unsure.pop(user, None)
        if not unsure:
            del self._unsure[connection]
        return said

    def _set_hidden(self, connection: C, user: str, *, hidden: bool) -> bool:
        """Whether that is another thing than before."""
        if hidden == self.is_hidden(connection, user):
            return False
        users = self._hidden.setdefault(connection, set())
        if hidden:
            users.add(user)
        else:
            users.discard(user)
        if not users:
            del self._hidden[connection]
        return True

    def _drop(self, users: Iterable[str]) -> None:
        """Forgets those of these whom nobody watches any more."""
        for user in users:
            if user not in self._watches:
                self._online.pop(user, None)
