"""The entries that changes and replies of a batch name, and what is pinned, as they are at each moment of it.

    learn: as they were read ──▶ begin a plan ──▶ put: as what is planned leaves them ──▶ commit: what is in for sure
                                     ▲ what was put is forgotten, since the plan is made anew

Guarantees: no I/O. Several changes of one target see each what those before have made of it. What was read of a
conversation is forgotten when that is loaded again: another node may have changed it.
Does not know: who reads them (write_round.py), what changes do (folding/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.storage.memory.conversation import CachedConversation
from services.storage.repository.records import MessageKey, StoredMessage


class Targets:
    def __init__(self) -> None:
        self._known: dict[MessageKey, StoredMessage | None] = {}
        self._planned: dict[MessageKey, StoredMessage] = {}
        self._pinned: dict[str, tuple[int, ...]] = {}
        self._in_database: dict[MessageKey, StoredMessage] = {}

    def unknown(self, keys: Iterable[MessageKey]) -> list[MessageKey]:
        """Those of these that are to be read, each once."""
        return [key for key in dict.fromkeys(keys) if key not in self._known]

    def learn(self, keys: Iterable[MessageKey], found: Mapping[MessageKey, StoredMessage]) -> None:
        """These were asked for, and of them those are there."""
        self._known.update({key: found.get(key) for key in keys})
        self._in_database.update(found)

    def forget(self, conversation: str) -> None:
        """What is known of this conversation may be wrong."""
        self._known = {key: entry for key, entry in self._known.items() if key[0] != conversation}

    def begin(self) -> None:
        """A plan begins: nothing of the one before is to be."""
        self._planned, self._pinned = {}, {}

    def at(self, key: MessageKey) -> StoredMessage | None:
        """The entry as it is after all that is planned; None: it is not there."""
        return self._planned.get(key) or self._known.get(key)

    def pinned_in(self, conversation: CachedConversation) -> tuple[int, ...]:
        """What is pinned after all that is planned."""
        return self._pinned.get(conversation.id, conversation.document.pinned)

    def put(self, entry: StoredMessage) -> None:
        """The plan makes this of the entry."""
        self._planned[entry.conversation, entry.seq] = entry

    def put_pinned(self, conversation: str, pinned: tuple[int, ...]) -> None:
        self._pinned[conversation] = pinned

    def inserted(self, entry: StoredMessage) -> None:
        """The entry is in, as it is."""
        key = entry.conversation, entry.seq
        self._known[key] = self._in_database[key] = entry

    def changed(self, entry: StoredMessage) -> None:
        """The CHANGE that makes this of the entry is in."""
        self._known[entry.conversation, entry.seq] = entry

    def in_database(self, key: MessageKey) -> StoredMessage | None:
        """The entry as its document was last, for all that is known."""
        return self._in_database.get(key)
