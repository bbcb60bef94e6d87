"""Reactions in MongoDB.

    reactions  _id (MongoDB's)  c conversation  q seq  u user  r reaction  k client ids of the last acts
               t place  f since, unless gone  x when gone
    ahead      _id "conversation seq"  c conversation  q seq  u who acted first

Counting reads an index alone: 100,000 reactions to a message are 100,000 keys and no document. A page of all reactions
reads the oldest of each and merges them.

Guarantees: those of the port.
Does not know: who may react.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from services.storage.repository.keys import numbered
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.schema import AHEAD, REACTIONS, REACTOR, TALLY
from services.storage.repository.reactions import (
    FIRST_USERS,
    AheadSet,
    ReactionCount,
    ReactionSpan,
    ReactionWrite,
    Reactor,
    StoredReaction,
)
from services.storage.repository.records import MessageKey

# Branches of one `$or`, each a range of an index.
OR_MAX: Final = 100
# Of those that are not gone, which an index of them alone has.
THERE: Final[Document] = {"$gte": 0}
# So many may have the same place as the last one of the page before: each of them by another node.
TIES: Final = 8


class MongoReactions:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def find(self, reactors: Collection[Reactor]) -> dict[Reactor, list[StoredReaction]]:
        found: dict[Reactor, list[StoredReaction]] = {}
        for query in _any_of(_by_reactor(reactors)):
            for document in await self._connection.find("find", REACTIONS, query, hint=REACTOR):
                reaction = _reaction(document)
                found.setdefault(Reactor(reaction.conversation, reaction.seq, reaction.user), []).append(reaction)
        wanted = set(reactors)
        return {reactor: reactions for reactor, reactions in found.items() if reactor in wanted}

    async def tallies(self, targets: Collection[MessageKey]) -> dict[MessageKey, list[ReactionCount]]:
        found: dict[MessageKey, list[ReactionCount]] = defaultdict(list)
        for query in _any_of(_by_conversation(targets)):
            pipeline: list[Document] = [
                {"$match": {"t": THERE, **query}},
                {
                    "$group": {
                        "_id": {"c": "$c", "q": "$q", "r": "$r"},
                        "n": {"$sum": 1},
                        "f": {"$min": "$f"},
                        "u": {"$topN": {"n": FIRST_USERS, "sortBy": {"t": 1, "u": 1}, "output": "$u"}},
                    }
                },
            ]
            for each in await self._connection.aggregate("tallies", REACTIONS, pipeline, hint=TALLY):
                key = each["_id"]
                count = ReactionCount(key["r"], each["n"], each["f"], tuple(each["u"]))
                found[key["c"], key["q"]].append(count)
        return {
            target: sorted(counts, key=lambda count: (count.since, count.reaction)) for target, counts in found.items()
        }

    async def page(self, span: ReactionSpan) -> list[StoredReaction]:
        query: Document = {"c": span.conversation, "q": span.seq, "t": THERE}
        query["r"] = span.reaction or {"$in": await self._given_to(query)}
        if span.newest:
            found = await self._connection.find(
                "page", REACTIONS, query, sort=[("t", -1), ("u", -1)], limit=span.limit, hint=TALLY
            )
            return [_reaction(document) for document in found]
        query["t"] = {"$gte": span.after.place}
        found = await self._connection.find(
            "page", REACTIONS, query, sort=[("t", 1), ("u", 1)], limit=span.limit + TIES, hint=TALLY
        )
        later = [each for each in map(_reaction, found) if each.order > span.after]
        return later[: span.limit]

    async def _given_to(self, target: Document) -> list[str]:
        """The different reactions to a message."""
        collection = self._connection.collection(REACTIONS)
        return list(await self._connection.run("given", REACTIONS, lambda: collection.distinct("r", target)))

    async def write(self, writes: Sequence[ReactionWrite]) -> bool:
        updates = [_update(reaction, expected) for reaction, expected in writes]
        done = await self._connection.write("write", REACTIONS, {"update": REACTIONS, "updates": updates}, len(updates))
        return done == len(updates)

    async def remove(self, conversation: str, first: int, below: int, limit: int) -> int:
        query = {"c": conversation, "q": {"$gte": first, "$lt": below}}
        found = await self._connection.find("of", REACTIONS, query, {"_id": 1}, limit=limit, hint=REACTOR)
        if not found:
            return 0
        ids = {"_id": {"$in": [document["_id"] for document in found]}, "c": conversation}
        deletes = [{"q": ids, "limit": 0}]
        return await self._connection.write("remove", REACTIONS, {"delete": REACTIONS, "deletes": deletes}, len(found))

    async def mark(self, begun: Collection[AheadSet], ended: Collection[MessageKey]) -> None:
        deletes: list[Document] = [
            {"q": {"_id": numbered(conversation, seq), "c": conversation}, "limit": 1} for conversation, seq in ended
        ]
        await self._connection.write("end", AHEAD, {"delete": AHEAD, "deletes": deletes}, len(deletes))
        documents: list[Document] = [
            {"_id": numbered(each.conversation, each.seq), "c": each.conversation, "q": each.seq, "u": each.user}
            for each in begun
        ]
        await self._connection.write("begin", AHEAD, {"insert": AHEAD, "documents": documents}, len(documents))

    async def ahead(self, conversation: str, seq: int, limit: int) -> list[AheadSet]:
        query: Document = {"_id": {"$gt": numbered(conversation, seq)}} if conversation else {}
        found = await self._connection.find("ahead", AHEAD, query, sort=[("_id", 1)], limit=limit)
        return [AheadSet(document["c"], document["q"], document["u"]) for document in found]


def _by_reactor(reactors: Iterable[Reactor]) -> list[Document]:
    """What finds these, and perhaps others: of one conversation, messages that the same users are asked about go
    together.
    """
    users: dict[MessageKey, set[str]] = defaultdict(set)
    for conversation, seq, user in reactors:
        users[conversation, seq].add(user)
    seqs: dict[tuple[str, frozenset[str]], list[int]] = defaultdict(list)
    for (conversation, seq), asked in users.items():
        seqs[conversation, frozenset(asked)].append(seq)
    return [
        {"c": conversation, "q": {"$in": found}, "u": {"$in": list(asked)}}
        for (conversation, asked), found in seqs.items()
    ]


def _by_conversation(targets: Iterable[MessageKey]) -> list[Document]:
    seqs: dict[str, list[int]] = defaultdict(list)
    for conversation, seq in targets:
        seqs[conversation].append(seq)
    return [{"c": conversation, "q": {"$in": found}} for conversation, found in seqs.items()]


def _any_of(queries: Sequence[Document]) -> list[Document]:
    """The queries as few: each of these finds what OR_MAX of them find."""
    parts = [queries[start : start + OR_MAX] for start in range(0, len(queries), OR_MAX)]
    return [part[0] if len(part) == 1 else {"$or": part} for part in parts]


def _update(reaction: StoredReaction, expected: tuple[str, ...] | None) -> Document:
    """An upsert that meets the unique key if what is there is not what it expects."""
    key: Document = {"c": reaction.conversation, "q": reaction.seq, "u": reaction.user, "r": reaction.reaction}
    query = {**key, "k": {"$exists": False} if expected is None else list(expected)}
    changes: Document = {"$set": {"k": list(reaction.acts)}}
    if reaction.gone:
        # By MongoDB's own clock, which is also the one that ends it.
        changes |= {"$currentDate": {"x": True}, "$unset": {"t": "", "f": ""}}
    else:
        changes["$set"] |= {"t": reaction.place, "f": reaction.since}
        changes["$unset"] = {"x": ""}
    return {"q": query, "u": changes, "upsert": True, "hint": REACTOR}


def _reaction(document: Document) -> StoredReaction:
    return StoredReaction(
        document["c"],
        document["q"],
        document["u"],
        document["r"],
        document.get("t", 0),
        document.get("f", 0),
        tuple(document["k"]),
        gone="t" not in document,
    )
