"""The users that this node knows: that they were welcomed, and which sessions they have.

A login of one of them is decided without reading anything. That is safe because each session is put where the one
before it is expected: whoever remembers wrongly finds out, forgets, and reads. So nobody is refused, and nothing is
passed over, by memory alone (writer.py).

Guarantees: no I/O; only users that this node owns, since of others another node writes the sessions. What was read
before something was forgotten is not kept. Bounded by the sessions, where a user counts as one more; the users who
logged in longest ago go first.
Does not know: which session is the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.storage.memory.cache import Cache
from services.storage.owners.peers import StoragePeers
from services.storage.repository.records import SessionDocument, SessionKey
from tidings_protocol.ids import slot_of

# A user with one session, which counts as two, takes 806 (tracemalloc, each with strings of its own).
SESSION_BYTES = 403


class KnownUsers:
    def __init__(self, peers: StoragePeers, sessions_max: int) -> None:
        self._peers = peers
        self._cache: Cache[tuple[SessionDocument, ...]] = Cache(sessions_max, lambda sessions: len(sessions) + 1)
        self._moment = 0

    def __len__(self) -> int:
        return len(self._cache)

    @property
    def moment(self) -> int:
        """To be taken before anything is read, and given to `learn`."""
        return self._moment

    def sessions_of(self, user: str) -> Sequence[SessionDocument] | None:
        """The sessions of a user who is known; None: the user is not."""
        sessions = self._cache.get(user)
        if sessions is not None and not self._owns(user):
            self._cache.drop(user)
            return None
        return sessions

    def learn(self, user: str, sessions: Iterable[SessionDocument], moment: int) -> None:
        """Keeps all sessions of a user, as of `moment`."""
        if moment == self._moment and self._owns(user):
            self._cache.put(user, tuple(sessions))
        else:
            self._cache.drop(user)

    def ended(self, key: SessionKey) -> None:
        """A session is gone."""
        sessions = self._cache.peek(key.user)
        if sessions is not None:
            self._cache.put(key.user, tuple(each for each in sessions if each.session != key.session))

    def forget(self, users: Iterable[str]) -> None:
        """What is known of these users is in doubt."""
        self._moment += 1
        for user in users:
            self._cache.drop(user)

    def drop_slots(self, slots: frozenset[int]) -> None:
        """What is known of the users in these slots is in doubt."""
        self._moment += 1
        self._cache.drop_slots(slots)

    def _owns(self, user: str) -> bool:
        return self._peers.owner_of(slot_of(user)) is None
