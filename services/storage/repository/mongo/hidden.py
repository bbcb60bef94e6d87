"""What users have hidden, in MongoDB: one document for each (conversation, user) that has hidden anything.

    hidden   _id "conversation user"  c conversation  u user  t through  q seqs after it

Guarantees: those of the ports; a document is changed by one command, as it is then.
Does not know: what is in a message.
"""

from __future__ import annotations

from collections.abc import Collection

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.storage.repository.keys import paired, pairs_of
from services.storage.repository.message_contract import HIDDEN_MAX
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.schema import HIDDEN
from services.storage.repository.records import HiddenSeqs, MemberKey, MessageKey


class MongoHidden:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def hide(self, key: MemberKey, seqs: Collection[int], through: int) -> bool:
        collection = self._connection.collection(HIDDEN)
        query = {"_id": paired(*key), "c": key.conversation}

        async def update() -> Document | None:
            return await collection.find_one_and_update(
                query, _hide(key, seqs, through), upsert=True, return_document=ReturnDocument.AFTER
            )

        async def call() -> Document | None:
            try:
                return await update()
            except DuplicateKeyError:  # another one made it meanwhile
                return await update()

        document = await self._connection.run("hide", HIDDEN, call)
        assert document is not None  # an upsert gives what it made
        after = _hidden(document)
        return after.through >= through and all(map(after.hides, seqs))

    async def of(self, keys: Collection[MemberKey]) -> dict[MemberKey, HiddenSeqs]:
        if not keys:
            return {}
        query = {"_id": {"$in": [paired(*key) for key in keys]}}
        found = await self._connection.find("of", HIDDEN, query)
        return {MemberKey(document["c"], document["u"]): _hidden(document) for document in found}

    async def hiders(self, messages: Collection[MessageKey]) -> dict[MessageKey, set[str]]:
        if not messages:
            return {}
        seqs: dict[str, list[int]] = {}
        for conversation, seq in messages:
            seqs.setdefault(conversation, []).append(seq)
        query = {"$or": [_hides_any(conversation, wanted) for conversation, wanted in seqs.items()]}
        found: dict[MessageKey, set[str]] = {}
        for document in await self._connection.find("hiders", HIDDEN, query):
            hidden = _hidden(document)
            for seq in filter(hidden.hides, seqs[document["c"]]):
                found.setdefault((document["c"], seq), set()).add(document["u"])
        return found


def _hide(key: MemberKey, seqs: Collection[int], through: int) -> list[Document]:
    """The update as stages: what would be hidden one by one is worked out, and taken if it is not too much."""
    higher: Document = {"$max": [{"$ifNull": ["$t", 0]}, through]}
    union: Document = {"$setUnion": [{"$ifNull": ["$q", []]}, list(seqs)]}
    single: Document = {"$filter": {"input": union, "cond": {"$gt": ["$$this", higher]}}}
    fits: Document = {"$lte": [{"$size": "$n"}, HIDDEN_MAX]}
    return [
        {"$set": {"n": single, "u": key.user}},
        {
            "$set": {
                "q": {"$cond": [fits, "$n", {"$ifNull": ["$q", []]}]},
                "t": {"$cond": [fits, higher, {"$ifNull": ["$t", 0]}]},
            }
        },
        {"$unset": "n"},
    ]


def _hides_any(conversation: str, seqs: Collection[int]) -> Document:
    low, high = pairs_of(conversation)
    hides = [{"t": {"$gte": min(seqs)}}, {"q": {"$in": list(seqs)}}]
    return {"_id": {"$gt": low, "$lt": high}, "$or": hides}


def _hidden(document: Document) -> HiddenSeqs:
    return HiddenSeqs(document["t"], frozenset(document["q"]))
