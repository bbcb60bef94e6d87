"""Sessions, users and devices in MongoDB.

    sessions  _id "user device"  u user  s session  k kind  n node  b boot  t since  v client  a attempt
              i address  p replaced [[s, n, b], …] (of earlier versions: [s, n, b])
    users     _id user  f first seen  l last seen  w welcomed
    devices   _id "user device"  u user  n inbox number held  x when that was
    meta      _id "epoch"  v

Guarantees: those of the ports.
Does not know: who is alive.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pymongo import ReturnDocument, UpdateOne

from services.storage.repository.keys import paired, second_of
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.schema import DEVICES, HELD, META, SESSIONS, USERS
from services.storage.repository.records import (
    Acknowledged,
    DeviceKey,
    ReplacedSession,
    SessionDocument,
    SessionKey,
    SessionPut,
    UserDocument,
)


class MongoSessions:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def of_users(self, users: Collection[str]) -> dict[str, list[SessionDocument]]:
        if not users:
            return {}
        found: dict[str, list[SessionDocument]] = {}
        for document in await self._connection.find("of", SESSIONS, {"u": {"$in": list(users)}}):
            found.setdefault(document["u"], []).append(_session(document))
        return found

    async def put(self, puts: Sequence[SessionPut]) -> list[bool]:
        if not puts:
            return []
        new = [_document(each.document) for each in puts if not each.expected]
        updates: list[Document] = [
            {
                "q": {
                    "_id": paired(each.document.user, each.document.device),
                    "u": each.document.user,
                    "s": each.expected,
                },
                "u": _document(each.document),
            }
            for each in puts
            if each.expected
        ]
        inserted = await self._connection.write("put", SESSIONS, {"insert": SESSIONS, "documents": new}, len(new))
        updated = await self._connection.write("put", SESSIONS, {"update": SESSIONS, "updates": updates}, len(updates))
        return [True] * len(puts) if inserted + updated == len(puts) else await self._which(puts)

    async def _which(self, puts: Sequence[SessionPut]) -> list[bool]:
        """Which of them are in, after some met another writer: those that are there now."""
        keys = [paired(each.document.user, each.document.device) for each in puts]
        found = await self._connection.find("of", SESSIONS, {"_id": {"$in": keys}}, {"s": 1})
        there = {document["_id"]: document["s"] for document in found}
        return [there.get(key) == each.document.session for key, each in zip(keys, puts, strict=True)]

    async def remove(self, keys: Collection[SessionKey]) -> None:
        if not keys:
            return
        deletes = [
            {"q": {"_id": paired(user, device), "u": user, "s": session}, "limit": 1} for user, device, session in keys
        ]
        await self._connection.write("remove", SESSIONS, {"delete": SESSIONS, "deletes": deletes}, len(deletes))

    async def boots(self) -> set[str]:
        collection = self._connection.collection(SESSIONS)
        return set(await self._connection.run("boots", SESSIONS, lambda: collection.distinct("b")))

    async def under(self, boot_id: str, after: DeviceKey, limit: int) -> list[SessionDocument]:
        query: Document = {"b": boot_id}
        if after != ("", ""):
            query["_id"] = {"$gt": paired(*after)}
        # Unasked the server takes the index on `_id`, and reads the sessions of all boots on the way (seen on 6.0).
        found = await self._connection.find("under", SESSIONS, query, sort=[("_id", 1)], limit=limit, hint=HELD)
        return [_session(document) for document in found]


class MongoUsers:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def find(self, users: Collection[str]) -> dict[str, UserDocument]:
        if not users:
            return {}
        found = await self._connection.find("find", USERS, {"_id": {"$in": list(users)}})
        return {document["_id"]: _user(document) for document in found}

    async def held(self, users: Collection[str]) -> dict[str, int]:
        if not users:
            return {}
        # From the index alone, one key for each user: somebody may have left a hundred thousand devices behind.
        pipeline: list[Document] = [
            {"$match": {"u": {"$in": list(users)}}},
            {"$sort": {"u": 1, "n": -1}},
            {"$group": {"_id": "$u", "n": {"$first": "$n"}}},
        ]
        return {each["_id"]: each["n"] for each in await self._connection.aggregate("held", DEVICES, pipeline)}

    async def create(self, users: Collection[str], now_ms: int, *, welcomed: bool = False) -> None:
        changes: Document = {"$setOnInsert": {"f": now_ms}}
        if welcomed:
            changes["$set"] = {"w": True}
        await self._connection.update(
            "create", USERS, [UpdateOne({"_id": user}, changes, upsert=True) for user in users]
        )

    async def seen(self, times: Mapping[str, int]) -> None:
        updates = [UpdateOne({"_id": user}, {"$max": {"l": time_ms}}) for user, time_ms in times.items()]
        await self._connection.update("seen", USERS, updates)

    async def acknowledge(self, held: Sequence[Acknowledged]) -> None:
        # By MongoDB's own clock, which is also the one that ends it.
        updates = [
            UpdateOne(
                {"_id": paired(user, device), "u": user},
                {"$max": {"n": number}, "$currentDate": {"x": True}},
                upsert=True,
            )
            for user, device, number in held
        ]
        await self._connection.update("acknowledge", DEVICES, updates)

    async def after(self, user: str, limit: int) -> list[UserDocument]:
        found = await self._connection.find("after", USERS, {"_id": {"$gt": user}}, sort=[("_id", 1)], limit=limit)
        return [_user(document) for document in found]

    async def epoch(self, candidate: str) -> str:
        collection = self._connection.collection(META)

        async def call() -> str:
            kept = await collection.find_one_and_update(
                {"_id": "epoch"},
                {"$setOnInsert": {"v": candidate}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
            assert kept is not None
            return str(kept["v"])

        return await self._connection.run("epoch", META, call)


def _document(session: SessionDocument) -> Document:
    document: Document = {
        "_id": paired(session.user, session.device),
        "u": session.user,
        "s": session.session,
        "k": session.kind,
        "n": session.node,
        "b": session.boot_id,
        "t": session.since_ms,
        "v": session.client,
    }
    if session.replaced:
        document["p"] = [list(each) for each in session.replaced]
    if session.attempt:
        document["a"] = session.attempt
    if session.address:
        document["i"] = session.address
    return document


def _session(document: Document) -> SessionDocument:
    replaced = document.get("p", ())
    if replaced and isinstance(replaced[0], str):
        replaced = [replaced]
    return SessionDocument(
        user=document["u"],
        device=second_of(document["_id"]),
        session=document["s"],
        kind=document["k"],
        node=document["n"],
        boot_id=document["b"],
        since_ms=document["t"],
        client=document["v"],
        replaced=tuple(ReplacedSession(*each) for each in replaced),
        attempt=document.get("a", 0),
        address=document.get("i", ""),
    )


def _user(document: Document) -> UserDocument:
    return UserDocument(
        user=document["_id"],
        first_seen_ms=document["f"],
        last_seen_ms=document.get("l", 0),
        welcomed=document.get("w", False),
    )
