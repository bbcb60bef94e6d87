"""Whose presence the application watches: kept over connections, since the server forgets it with each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tidings.core.errands import WatchAgain

PER_REQUEST = 100
WATCHED_MAX = 500


class Watches:
    def __init__(self) -> None:
        self._users: dict[str, None] = {}

    def change(self, users: Iterable[str], *, on: bool) -> None:
        """What is beyond the server's limit is not kept; the server has refused it."""
        for user in users:
            if not on:
                self._users.pop(user, None)
            elif len(self._users) < WATCHED_MAX:
                self._users[user] = None

    def again(self) -> Iterator[WatchAgain]:
        """What begins all watches again in a new session."""
        users = list(self._users)
        for start in range(0, len(users), PER_REQUEST):
            yield WatchAgain(tuple(users[start : start + PER_REQUEST]))
