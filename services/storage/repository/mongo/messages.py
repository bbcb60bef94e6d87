"""Messages and inboxes in the log in MongoDB, which is clustered by (conversation, seq) and by (user, number).

Guarantees: those of the ports. One command for a whole batch, whatever is in it.
Does not know: who gets an entry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

from pymongo import UpdateMany, UpdateOne

from services.storage.repository.contract import Conflict, Inserted
from services.storage.repository.keys import id_of_entry, id_of_message, number_of
from services.storage.repository.mongo.connection import Document, MongoConnection, Range
from services.storage.repository.mongo.documents import entry_of, message_of
from services.storage.repository.mongo.log import MongoLog
from services.storage.repository.mongo.schema import BY_TARGET, LOG
from services.storage.repository.mongo.unread import count_unread
from services.storage.repository.records import (
    MAX_NUMBER,
    ClientKey,
    Erasure,
    Fold,
    InboxEntry,
    MessageKey,
    Span,
    StoredMessage,
    UnreadCount,
    UnreadSpan,
    reactions_left_out,
)

# Said, because the planner takes an index that begins with another field of the query, and reads all that it finds
# there (seen on 6.0.5: 5,000 documents for 10 that are removed).
BY_ID: Final = [("_id", 1)]


class MongoMessages:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        self._log = MongoLog(connection)

    async def insert(self, messages: Sequence[StoredMessage]) -> Inserted:
        return await self._log.insert(messages, ())

    async def pages(
        self, spans: Sequence[Span], *, content: bool = True, content_max: int = MAX_NUMBER
    ) -> list[list[StoredMessage]]:
        then = _up_to(content_max) if content else [{"$project": {"b": 0, "h": 0}}]
        pages = await self._connection.ranges("pages", LOG, _bounds(spans, id_of_message), then=then)
        return [[message_of(document) for document in page] for page in pages]

    async def get(
        self, keys: Sequence[MessageKey], *, content_max: int = MAX_NUMBER
    ) -> dict[MessageKey, StoredMessage]:
        ids = [id_of_message(*key) for key in dict.fromkeys(keys)]
        found = await self._connection.lookup("get", LOG, ids, then=_up_to(content_max))
        return {(message.conversation, message.seq): message for message in map(message_of, found)}

    async def find(self, keys: Collection[ClientKey]) -> dict[ClientKey, StoredMessage]:
        if not keys:
            return {}
        query = {"$or": [{"p": key.conversation, "s": key.sender, "k": key.client_id} for key in keys]}
        found = [message_of(document) for document in await self._connection.find("find", LOG, query)]
        return {ClientKey(message.conversation, message.sender, message.client_id): message for message in found}

    async def fold(self, folds: Sequence[Fold]) -> None:
        await self._connection.update("fold", LOG, [_written(each) for each in folds])

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        await self._connection.update("erase", LOG, [_erased(each) for each in erasures])

    async def unread(self, user: str, spans: Sequence[UnreadSpan], now_ms: int) -> list[UnreadCount]:
        return await count_unread(self._connection, user, spans, now_ms)

    async def remove(self, conversation: str, below: int) -> int:
        return await _remove(self._connection, conversation, id_of_message, below)


class MongoInboxes:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        self._log = MongoLog(connection)

    async def insert(self, entries: Sequence[InboxEntry]) -> Inserted:
        inserted = await self._log.insert((), entries)
        return Inserted(inserted.done, inserted.conflict and Conflict.NUMBER)

    async def pages(self, spans: Sequence[Span]) -> list[list[InboxEntry]]:
        pages = await self._connection.ranges("pages", LOG, _bounds(spans, id_of_entry))
        return [[entry_of(document) for document in page] for page in pages]

    async def search(self, wanted: Sequence[tuple[Span, Collection[MessageKey]]]) -> list[dict[MessageKey, int]]:
        ranges = _bounds([span for span, _ in wanted], id_of_entry)
        filters = [_any_of(messages) for _, messages in wanted]
        pages = await self._connection.ranges("search", LOG, ranges, filters=filters)
        return [{(document["c"], document["q"]): number_of(document["_id"]) for document in page} for page in pages]

    async def remove(self, user: str, below: int) -> int:
        return await _remove(self._connection, user, id_of_entry, below)


async def _remove(connection: MongoConnection, key: str, id_of: Callable[[str, int], bytes], below: int) -> int:
    query = {"p": key, "_id": {"$gte": id_of(key, 0), "$lt": id_of(key, below)}}
    documents = connection.collection(LOG)
    result = await connection.run("remove", LOG, lambda: documents.delete_many(query, hint=BY_ID))
    return int(result.deleted_count)


def _written(fold: Fold) -> UpdateOne:
    written: Document = {"v": fold.revision, "w": fold.state}
    gone: Document = {}
    if fold.content is not None:
        written["b"] = fold.content
    if fold.mentions:
        written["m"] = list(fold.mentions)
    else:
        gone["m"] = ""
    if fold.ends:
        gone["n"] = ""
    query = {
        "_id": id_of_message(fold.conversation, fold.seq),
        "p": fold.conversation,
        "v": {"$not": {"$gte": fold.revision}},
    }
    return UpdateOne(query, {"$set": written, "$unset": gone} if gone else {"$set": written})


def _erased(erasure: Erasure) -> UpdateMany:
    query: Document = {
        "p": erasure.conversation,
        "x": erasure.seq,
        "_id": {
            "$gte": id_of_message(erasure.conversation, erasure.since),
            "$lt": id_of_message(erasure.conversation, erasure.below),
        },
    }
    if erasure.everything:
        # Only a CHANGE that tells of reactions has a state; what it tells is in its act.
        silent: Document = {"$literal": reactions_left_out(erasure.seq)}
        told: Document = {"$cond": [{"$eq": [{"$type": "$w"}, "missing"]}, "$a", silent]}
        return UpdateMany(query, [{"$set": {"a": told}}, {"$unset": ["b", "h", "m", "w"]}], hint=BY_TARGET)
    changes: Document = {"$pull": {"m": {"$nin": list(erasure.mentions)}}}
    if erasure.contents:
        changes["$unset"] = {"b": ""}
    return UpdateMany(query, changes, hint=BY_TARGET)


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


def _bounds(spans: Sequence[Span], id_of: Callable[[str, int], bytes]) -> list[Range]:
    return [(id_of(span.key, span.after), id_of(span.key, span.before), span.limit, span.descending) for span in spans]
