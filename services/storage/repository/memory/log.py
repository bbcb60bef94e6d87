"""The log of the twin in memory: messages and inbox entries, inserted in order.

Guarantees: those of repository/contract.py. Does not know: what is in a message.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.storage.repository.contract import Conflict, Inserted
from services.storage.repository.memory.faults import away
from services.storage.repository.memory.port import MemoryPort
from services.storage.repository.records import ClientKey, InboxEntry, StoredMessage


class LogPort(MemoryPort):
    """What all ports on the log share: the one way in."""

    async def _insert(self, name: str, messages: Sequence[StoredMessage], entries: Sequence[InboxEntry]) -> Inserted:
        await self._faults.before(name)
        inserted = self._put(messages, entries, self._faults.take_cut())
        await self._faults.after(name)
        return inserted

    def _put(self, messages: Sequence[StoredMessage], entries: Sequence[InboxEntry], cut: int | None) -> Inserted:
        both: list[StoredMessage | InboxEntry] = [*messages, *entries]
        for done, each in enumerate(both):
            if done == cut:
                raise away()
            if conflict := self._conflict(each) if isinstance(each, StoredMessage) else self._entry_conflict(each):
                return Inserted(done, conflict)
            self._keep(each)
        return Inserted(len(both))

    def _keep(self, each: StoredMessage | InboxEntry) -> None:
        if isinstance(each, InboxEntry):
            self._data.inboxes[each.user][each.number] = each
            return
        self._data.messages[each.conversation][each.seq] = each
        self._data.clients[client_of(each)] = each.seq
        self._data.written.append(each.conversation)

    def _conflict(self, message: StoredMessage) -> Conflict | None:
        if message.seq in self._data.messages[message.conversation]:
            return Conflict.NUMBER
        return Conflict.CLIENT if client_of(message) in self._data.clients else None

    def _entry_conflict(self, entry: InboxEntry) -> Conflict | None:
        return Conflict.ENTRY if entry.number in self._data.inboxes[entry.user] else None


class MemoryLog(LogPort):
    async def insert(self, messages: Sequence[StoredMessage], entries: Sequence[InboxEntry]) -> Inserted:
        return await self._insert("log.insert", messages, entries)


def client_of(message: StoredMessage) -> ClientKey:
    return ClientKey(message.conversation, message.sender, message.client_id)
