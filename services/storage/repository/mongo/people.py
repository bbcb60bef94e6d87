"""Preferences, blocks and profiles in MongoDB.

    preferences  _id "user conversation"  u user  c conversation  m muted until  p pinned  a archived  n marked unread
                 d draft [text, joined]  h hidden [after, joined]; each only where it was set, and is not as at first
    blocks       _id "user blocked"  u user  t since when
    profiles     _id user  v version  b profile  o op

Guarantees: those of the ports.
Does not know: what follows from them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from services.storage.repository.keys import paired, pairs_of, second_of
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.schema import BLOCKS, MARKED, PREFERENCES, PROFILES
from services.storage.repository.people import (
    NO_DRAFT,
    NOT_HIDDEN,
    BlockKey,
    Draft,
    Hiding,
    PreferenceChange,
    PreferenceDocument,
    PreferenceKey,
    ProfileDocument,
    merged,
)

# Said, because another index begins with the same user.
BY_ID = [("_id", 1)]


class MongoPreferences:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def change(self, changes: Sequence[PreferenceChange]) -> dict[PreferenceKey, PreferenceDocument]:
        if not changes:
            return {}
        updates = [_update(change) for change in merged(changes)]
        body: Document = {"update": PREFERENCES, "updates": updates}
        # Of two upserts of one key at the same time the later one may find what it inserts: then it finds it to update.
        for _ in range(2):
            if await self._connection.write("change", PREFERENCES, body, len(updates)) == len(updates):
                break
        return await self.find({change.key for change in changes})

    async def find(self, keys: Collection[PreferenceKey]) -> dict[PreferenceKey, PreferenceDocument]:
        if not keys:
            return {}
        query = {"_id": {"$in": [paired(*key) for key in keys]}}
        found = [_preferences(document) for document in await self._connection.find("find", PREFERENCES, query)]
        return {document.key: document for document in found}

    async def marked(self, conversations: Collection[str]) -> dict[str, set[str]]:
        if not conversations:
            return {}
        query = {"c": {"$in": list(conversations)}, "n": {"$exists": True}}
        found: dict[str, set[str]] = {}
        for document in await self._connection.find("marked", PREFERENCES, query, {"c": 1, "u": 1}, hint=MARKED):
            found.setdefault(document["c"], set()).add(document["u"])
        return found


class MongoBlocks:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def put(self, keys: Sequence[BlockKey], now_ms: int) -> None:
        documents = [{"_id": paired(*key), "u": key.user, "t": now_ms} for key in dict.fromkeys(keys)]
        await self._connection.write("put", BLOCKS, {"insert": BLOCKS, "documents": documents}, len(documents))

    async def remove(self, keys: Sequence[BlockKey]) -> None:
        deletes = [{"q": {"_id": paired(*key), "u": key.user}, "limit": 1} for key in keys]
        await self._connection.write("remove", BLOCKS, {"delete": BLOCKS, "deletes": deletes}, len(deletes))

    async def find(self, keys: Collection[BlockKey]) -> dict[BlockKey, int]:
        if not keys:
            return {}
        found = await self._connection.find("find", BLOCKS, {"_id": {"$in": [paired(*key) for key in keys]}})
        return {BlockKey(document["u"], second_of(document["_id"])): document["t"] for document in found}

    async def page(self, user: str, after: str, limit: int) -> list[str]:
        low, high = pairs_of(user)
        query = {"_id": {"$gt": paired(user, after) if after else low, "$lt": high}}
        found = await self._connection.find("page", BLOCKS, query, {"_id": 1}, sort=BY_ID, limit=limit, hint=BY_ID)
        return [second_of(document["_id"]) for document in found]


class MongoProfiles:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def find(self, users: Collection[str]) -> dict[str, ProfileDocument]:
        if not users:
            return {}
        found = await self._connection.find("find", PROFILES, {"_id": {"$in": list(users)}})
        return {document["_id"]: _profile(document) for document in found}

    async def put(self, user: str, profile: bytes, op: str, expected: int) -> ProfileDocument | None:
        query: Document = {"_id": user, "o": {"$ne": op}}
        if expected:
            query["v"] = expected
        update = {"$set": {"b": profile, "o": op}, "$inc": {"v": 1}}
        collection = self._connection.collection(PROFILES)

        async def call() -> Document | None:
            try:
                return await collection.find_one_and_update(
                    query, update, upsert=not expected, return_document=ReturnDocument.AFTER
                )
            except DuplicateKeyError:
                return None  # this very op has set what is there, or somebody has just set the first one

        document = await self._connection.run("put", PROFILES, call)
        if document is None:
            present = (await self.find([user])).get(user)
            if expected or present is None or present.op == op:
                return present
            document = await self._connection.run("put", PROFILES, call)
        return _profile(document) if document is not None else (await self.find([user])).get(user)


def _update(change: PreferenceChange) -> Document:
    """The update of one key; what is as it was at first is not there."""
    fields: dict[str, Any] = {
        "m": change.muted_until_ms,
        "p": change.pinned,
        "a": change.archived,
        "n": change.marked_unread,
        "d": None if change.draft is None else change.draft.text and list(change.draft),
        "h": None if change.hiding is None else change.hiding.after >= 0 and list(change.hiding),
    }
    # The conversation too where nothing else is set: an update has to say something.
    given = {"c": change.key.conversation} | {name: value for name, value in fields.items() if value}
    taken = {name: "" for name, value in fields.items() if value is not None and not value}
    return {
        "q": {"_id": paired(*change.key), "u": change.key.user},
        "u": {"$set": given, **({"$unset": taken} if taken else {})},
        "upsert": True,
    }


def _preferences(document: Document) -> PreferenceDocument:
    return PreferenceDocument(
        user=document["u"],
        conversation=document["c"],
        muted_until_ms=document.get("m", 0),
        pinned=document.get("p", False),
        archived=document.get("a", False),
        marked_unread=document.get("n", False),
        draft=Draft(*document["d"]) if "d" in document else NO_DRAFT,
        hiding=Hiding(*document["h"]) if "h" in document else NOT_HIDDEN,
    )


def _profile(document: Document) -> ProfileDocument:
    return ProfileDocument(document["_id"], document["v"], document["b"], document["o"])
