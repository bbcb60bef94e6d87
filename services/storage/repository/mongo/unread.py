"""What is unread, counted by MongoDB itself: a scan of each span's range of the log, which gives one document.

Guarantees: those of the port. A command has so many spans and so many hidden messages that it stays far below what
MongoDB takes.
Does not know: who has read what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.storage.repository.contract import MENTIONS_MAX
from services.storage.repository.keys import id_of_message, number_of
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.schema import LOG
from services.storage.repository.records import CHANGE, EVERYBODY, NORMAL, Mention, UnreadCount, UnreadSpan

# Hidden messages that one command names: each takes up to 150 bytes in it.
NAMED_MAX = 20_000


async def count_unread(
    connection: MongoConnection, user: str, spans: Sequence[UnreadSpan], now_ms: int
) -> list[UnreadCount]:
    """What each span has for this user, aligned with the spans."""
    counts: list[UnreadCount] = []
    for part in _parts(spans):
        ranges = [
            (
                id_of_message(each.conversation, each.after),
                id_of_message(each.conversation, each.before),
                each.limit,
                False,
            )
            for each in part
        ]
        hidden = [id_of_message(each.conversation, seq) for each in part for seq in each.hidden]
        stages = _counting(user, hidden, now_ms)
        counts += [_count(documents) for documents in await connection.ranges("unread", LOG, ranges, together=stages)]
    return counts


def _parts(spans: Sequence[UnreadSpan]) -> Iterator[Sequence[UnreadSpan]]:
    start = named = 0
    for place, span in enumerate(spans):
        if place > start and named + len(span.hidden) > NAMED_MAX:
            yield spans[start:place]
            start, named = place, 0
        named += len(span.hidden)
    if spans:
        yield spans[start:]


def _counting(user_id: str, hidden: list[bytes], now_ms: int) -> list[Document]:
    """The entries of each range become one document that counts them. Once for all ranges: MongoDB would prepare it
    for each of them, which takes longer than to count a few entries (measured: 1.2 instead of 0.5 ms a range).
    """
    user: Document = {"$literal": user_id}
    mentioned: Document = {"$ifNull": ["$m", []]}
    # What was recalled has a state, and no content any more.
    is_recalled: Document = {"$and": ["$w", {"$eq": [{"$binarySize": {"$ifNull": ["$b", b""]}}, 0]}]}
    is_there: Document = {"$and": [{"$ne": ["$s", user]}, {"$or": [{"$not": ["$e"]}, {"$gt": ["$e", now_ms]}]}]}
    counts: Document = {"$and": [{"$ne": ["$y", CHANGE]}, is_there, {"$not": [is_recalled]}]}
    mentions: Document = {"$and": [{"$or": [{"$in": [user, mentioned]}, {"$in": [EVERYBODY, mentioned]}]}, is_there]}
    group: Document = {
        "_id": "$#",
        "u": {"$sum": {"$cond": [counts, 1, 0]}},
        "m": {"$push": {"$cond": [mentions, {"i": "$_id", "a": "$a"}, "$$REMOVE"]}},
        "o": {"$first": {"$ifNull": ["$o", 0]}},
        "i": {"$last": "$_id"},
        "p": {"$last": {"$ifNull": ["$o", 0]}},
        "y": {"$last": {"$ifNull": ["$y", NORMAL]}},
    }
    told: Document = {
        "_id": 0,
        "#": "$_id",
        "u": 1,
        "m": {"$slice": ["$m", MENTIONS_MAX]},
        "o": 1,
        "i": 1,
        "p": 1,
        "y": 1,
    }
    without: list[Document] = [{"$match": {"_id": {"$nin": hidden}}}] if hidden else []
    return [*without, {"$group": group}, {"$project": told}]


def _count(documents: Sequence[Document]) -> UnreadCount:
    if not documents:
        return UnreadCount()
    [document] = documents
    last = number_of(document["i"])
    return UnreadCount(
        unread=document["u"],
        mentions=tuple(Mention(number_of(each["i"]), each.get("a", b"")) for each in document["m"]),
        before=document["o"],
        last=last,
        ordinal=last - document["p"] - (document["y"] == CHANGE),
    )
