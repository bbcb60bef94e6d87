"""What goes into the log in MongoDB: messages and inbox entries with one command.

Guarantees: those of the port. On a sharded cluster messages and entries are two commands: mongos would take an ordered
insert for several shards apart, one command for each run of documents of one shard.
Does not know: who gets an entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pymongo.errors import BulkWriteError

from services.storage.repository.contract import Conflict, Inserted
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.documents import BESIDE_CONTENT_BYTES, entry_document, message_document, size_of
from services.storage.repository.mongo.schema import LOG
from services.storage.repository.records import InboxEntry, StoredMessage

# MongoDB takes 48 MB in one command, and the driver 16 MiB in one that it does not take apart itself.
COMMAND_BYTES_MAX: Final = 16 * 1024 * 1024


class MongoLog:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def insert(self, messages: Sequence[StoredMessage], entries: Sequence[InboxEntry]) -> Inserted:
        if self._connection.is_sharded and messages and entries:
            inserted = await self._insert(messages, ())
            if inserted.conflict is not None:
                return inserted
            done, conflict = await self._insert((), entries)
            return Inserted(inserted.done + done, conflict)
        return await self._insert(messages, entries)

    async def _insert(self, messages: Sequence[StoredMessage], entries: Sequence[InboxEntry]) -> Inserted:
        """Inserts with one command, or with several if the documents do not fit into one."""
        documents = [message_document(message) for message in messages]
        documents += [entry_document(entry) for entry in entries]
        done = 0
        for part in _parts(documents, messages):
            try:
                await self._connection.insert(LOG, part)
            except BulkWriteError as error:
                done += error.details["nInserted"]
                return Inserted(done, _conflict(error) if done < len(messages) else Conflict.ENTRY)
            done += len(part)
        return Inserted(done)


def _conflict(error: BulkWriteError) -> Conflict:
    return Conflict.NUMBER if "_id" in error.details["writeErrors"][0]["keyPattern"] else Conflict.CLIENT


def _parts(documents: list[Document], messages: Sequence[StoredMessage]) -> Iterator[list[Document]]:
    """The documents of each command."""
    sizes = [size_of(each) for each in messages]
    sizes += [BESIDE_CONTENT_BYTES] * (len(documents) - len(messages))
    start = 0
    for count in counts_within(sizes, COMMAND_BYTES_MAX):
        yield documents[start : start + count]
        start += count


def counts_within(sizes: Iterable[int], most: int) -> list[int]:
    """How many of the sizes in a row make at most so much; at least one each."""
    counts: list[int] = []
    room = 0
    for size in sizes:
        if not counts or size > room:
            counts.append(0)
            room = most
        counts[-1] += 1
        room -= size
    return counts
