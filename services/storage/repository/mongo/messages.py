"""Messages and inboxes in MongoDB: clustered by (conversation, seq) and by (user, number).

    messages   _id  c conversation  s sender  k client id  t time  b content  y kind, if not NORMAL  g change, if any
    inbox      _id  u user  c conversation  q seq  t time

Guarantees: those of the ports. One command for a whole batch, whatever is in it.
Does not know: who gets an entry.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import repeat
from typing import Final

from pymongo.errors import BulkWriteError

from services.storage.repository.contract import Conflict, Inserted
from services.storage.repository.keys import number_of, numbered
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.schema import INBOX, MESSAGES
from services.storage.repository.records import (
    MAX_NUMBER,
    NORMAL,
    ClientKey,
    InboxEntry,
    MessageKey,
    Span,
    StoredMessage,
)

# MongoDB takes 48 MB in one command.
COMMAND_BYTES_MAX: Final = 32 * 1024 * 1024
# Said, because the planner takes an index that begins with another field of the query, and reads all that it finds
# there (seen on 6.0.5: 5,000 documents for 10 that are removed).
BY_ID: Final = [("_id", 1)]
DOCUMENT_BYTES: Final = 512  # what a document has beside a message's content, at most


class MongoMessages:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def insert(self, messages: Sequence[StoredMessage]) -> Inserted:
        documents = [_document(message) for message in messages]
        return await _insert(
            self._connection,
            MESSAGES,
            documents,
            (len(each.content) + len(each.change) + DOCUMENT_BYTES for each in messages),
        )

    async def pages(
        self, spans: Sequence[Span], *, content: bool = True, content_max: int = MAX_NUMBER
    ) -> list[list[StoredMessage]]:
        then = _up_to(content_max) if content else [{"$project": {"b": 0}}]
        pages = await self._connection.ranges("pages", MESSAGES, _bounds(spans), then=then)
        return [[_message(document) for document in page] for page in pages]

    async def get(
        self, keys: Sequence[MessageKey], *, content_max: int = MAX_NUMBER
    ) -> dict[MessageKey, StoredMessage]:
        ids = [numbered(*key) for key in dict.fromkeys(keys)]
        found = await self._connection.lookup("get", MESSAGES, ids, then=_up_to(content_max))
        return {(message.conversation, message.seq): message for message in map(_message, found)}

    async def find(self, keys: Collection[ClientKey]) -> dict[ClientKey, StoredMessage]:
        if not keys:
            return {}
        query = {"$or": [{"c": key.conversation, "s": key.sender, "k": key.client_id} for key in keys]}
        found = [_message(document) for document in await self._connection.find("find", MESSAGES, query)]
        return {ClientKey(message.conversation, message.sender, message.client_id): message for message in found}

    async def remove(self, conversation: str, below: int) -> int:
        return await _remove(self._connection, MESSAGES, "c", conversation, below)


class MongoInboxes:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def insert(self, entries: Sequence[InboxEntry]) -> Inserted:
        documents: list[Document] = [
            {"_id": numbered(user, number), "u": user, "c": conversation, "q": seq, "t": time_ms}
            for user, number, conversation, seq, time_ms in entries
        ]
        return await _insert(self._connection, INBOX, documents, repeat(DOCUMENT_BYTES, len(documents)))

    async def pages(self, spans: Sequence[Span]) -> list[list[InboxEntry]]:
        pages = await self._connection.ranges("pages", INBOX, _bounds(spans))
        return [[_entry(document) for document in page] for page in pages]

    async def search(self, wanted: Sequence[tuple[Span, Collection[MessageKey]]]) -> list[dict[MessageKey, int]]:
        ranges = _bounds([span for span, _ in wanted])
        filters = [_any_of(messages) for _, messages in wanted]
        pages = await self._connection.ranges("search", INBOX, ranges, filters=filters)
        return [{(document["c"], document["q"]): number_of(document["_id"]) for document in page} for page in pages]

    async def remove(self, user: str, below: int) -> int:
        return await _remove(self._connection, INBOX, "u", user, below)


async def _insert(
    connection: MongoConnection, collection: str, documents: list[Document], sizes: Iterable[int]
) -> Inserted:
    """Inserts with one command, or with several if the documents do not fit into one."""
    done = 0
    for count in _parts(sizes):
        try:
            await connection.insert(collection, documents[done : done + count])
        except BulkWriteError as error:
            first = error.details["writeErrors"][0]
            conflict = Conflict.NUMBER if "_id" in first["keyPattern"] else Conflict.CLIENT
            return Inserted(done + error.details["nInserted"], conflict)
        done += count
    return Inserted(done)


def _parts(sizes: Iterable[int]) -> list[int]:
    """How many documents go into each command; at least one."""
    counts, room = [0], COMMAND_BYTES_MAX
    for size in sizes:
        if size > room and counts[-1]:
            counts.append(0)
            room = COMMAND_BYTES_MAX
        counts[-1] += 1
        room -= size
    return counts


async def _remove(connection: MongoConnection, collection: str, field: str, key: str, below: int) -> int:
    query = {field: key, "_id": {"$gte": numbered(key, 0), "$lt": numbered(key, below)}}
    documents = connection.collection(collection)
    result = await connection.run("remove", collection, lambda: documents.delete_many(query, hint=BY_ID))
    return int(result.deleted_count)


def _up_to(content_max: int) -> list[Document]:
    """Stages that leave longer content out and tell its size as `l`."""
    if content_max == MAX_NUMBER:
        return []
    size: Document = {"$binarySize": "$b"}
    is_long: Document = {"$gt": [size, content_max]}
    return [
        {
            "$addFields": {
                "b": {"$cond": [is_long, "$$REMOVE", "$b"]},
                "l": {"$cond": [is_long, size, "$$REMOVE"]},
            }
        }
    ]


def _any_of(messages: Collection[MessageKey]) -> Document:
    seqs: dict[str, list[int]] = {}
    for conversation, seq in messages:
        seqs.setdefault(conversation, []).append(seq)
    return {"$or": [{"c": conversation, "q": {"$in": wanted}} for conversation, wanted in seqs.items()]}


def _bounds(spans: Sequence[Span]) -> list[tuple[bytes, bytes, int, bool]]:
    return [
        (numbered(span.key, span.after), numbered(span.key, span.before), span.limit, span.descending) for span in spans
    ]


def _document(message: StoredMessage) -> Document:
    conversation, seq, sender, client_id, time_ms, content, kind, change, _ = message
    document: Document = {
        "_id": numbered(conversation, seq),
        "c": conversation,
        "s": sender,
        "k": client_id,
        "t": time_ms,
        "b": content,
    }
    if kind != NORMAL:
        document["y"] = kind
    if change:
        document["g"] = change
    return document


def _message(document: Document) -> StoredMessage:
    return StoredMessage(
        document["c"],
        number_of(document["_id"]),
        document["s"],
        document["k"],
        document["t"],
        document.get("b", b""),
        document.get("y", NORMAL),
        document.get("g", b""),
        document.get("l", 0),
    )


def _entry(document: Document) -> InboxEntry:
    return InboxEntry(document["u"], number_of(document["_id"]), document["c"], document["q"], document["t"])
