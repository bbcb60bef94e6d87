"""Whose presence, or profile, the application watches: kept over connections, since the server forgets it with each.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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

    def again(self) -> Iterator[tuple[str, ...]]:
        """Whom to ask about in a new session, so many at once as a request may have."""
        users = list(self._users)
        for start in range(0, len(users), PER_REQUEST):
            yield tuple(users[start : start + PER_REQUEST])
