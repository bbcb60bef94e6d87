"""Bans, invites, requests to join, paces and dissolved groups in MongoDB.

    bans       _id "conversation user"  c conversation  u user, unless gone  z stamp  x when gone
    invites    _id "conversation invite"  c conversation  b by  t time  e expires  n uses  o op  z stamp  x when over
               of a use: _id "conversation invite user"  c conversation  i invite  x when over
    requests   _id "conversation user"  c conversation  t time  b text  z stamp
    paces      _id "conversation user"  c conversation  t when sent last  x when that was
    dissolved  _id conversation  z stamp

Who was a member at the end of a dissolved group has a document among the members with `gf`.

Guarantees: those of the ports.
Does not know: what a change ends.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from pymongo import UpdateOne

from services.storage.repository.group_contract import GroupPorts
from services.storage.repository.group_records import (
    BanDocument,
    InviteDocument,
    InviteUse,
    JoinRequestDocument,
    Pace,
)
from services.storage.repository.keys import paired, pairs_of, second_of
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.schema import BANS, DISSOLVED, INVITES, MEMBERS, PACES, REQUESTS
from services.storage.repository.records import MemberKey


class MongoBans:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def write(self, bans: Sequence[BanDocument]) -> None:
        await self._connection.update("write", BANS, [_written(ban) for ban in bans])

    async def find(self, keys: Collection[MemberKey]) -> set[MemberKey]:
        if not keys:
            return set()
        query = {"_id": {"$in": [paired(*key) for key in keys]}, "u": {"$exists": True}}
        found = await self._connection.find("find", BANS, query, {"c": 1, "u": 1})
        return {MemberKey(document["c"], document["u"]) for document in found}

    async def page(self, conversation: str, after: str, limit: int) -> list[str]:
        query: Document = {**_range(conversation), "u": {"$exists": True}}
        if after:
            query["_id"]["$gt"] = paired(conversation, after)
        found = await self._connection.find("page", BANS, query, {"u": 1}, sort=[("_id", 1)], limit=limit)
        return [document["u"] for document in found]


class MongoInvites:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def make(self, invite: InviteDocument) -> None:
        update = UpdateOne(
            {"_id": paired(invite.conversation, invite.invite), "c": invite.conversation},
            {
                "$setOnInsert": {
                    "b": invite.by,
                    "t": invite.time_ms,
                    "e": invite.expires_ms,
                    "n": invite.uses,
                    "o": invite.op,
                    "z": invite.stamp,
                    "x": _date(invite.expires_ms),
                }
            },
            upsert=True,
        )
        await self._connection.update("make", INVITES, [update])

    async def find(self, conversation: str, invite: str, now_ms: int) -> InviteDocument | None:
        query = {"_id": paired(conversation, invite), "b": {"$exists": True}, "e": {"$gt": now_ms}}
        found = await self._connection.find("find", INVITES, query)
        return _invite(found[0]) if found else None

    async def made_by(self, conversation: str, user: str, now_ms: int, limit: int) -> list[InviteDocument]:
        return await self.page(conversation, (0, ""), user, now_ms, limit)

    async def page(
        self, conversation: str, after: tuple[int, str], by: str, now_ms: int, limit: int
    ) -> list[InviteDocument]:
        time_ms, invite = after
        query: Document = {
            "c": conversation,
            "b": by or {"$exists": True},
            "e": {"$gt": now_ms},
            "$or": [{"t": {"$gt": time_ms}}, {"t": time_ms, "_id": {"$gt": paired(conversation, invite)}}],
        }
        found = await self._connection.find("page", INVITES, query, sort=[("t", 1), ("_id", 1)], limit=limit)
        return [_invite(document) for document in found]

    async def end(self, conversation: str, *, invite: str = "", by: Collection[str] | None = None, below: int) -> None:
        query: Document = {"c": conversation, "b": {"$exists": True}, "z": {"$lt": below}}
        if invite:
            query["_id"] = paired(conversation, invite)
        if by is not None:
            query["b"] = {"$in": list(by)}
        await _delete(self._connection, "end", INVITES, query)

    async def use(self, uses: Sequence[InviteUse]) -> None:
        updates = [
            UpdateOne(
                {"_id": paired(use.conversation, paired(use.invite, use.user)), "c": use.conversation},
                {"$setOnInsert": {"i": use.invite, "x": _date(use.expires_ms)}},
                upsert=True,
            )
            for use in uses
        ]
        await self._connection.update("use", INVITES, updates)

    async def used_by(self, conversation: str, invite: str, user: str) -> bool:
        key = paired(conversation, paired(invite, user))
        return bool(await self._connection.find("used_by", INVITES, {"_id": key}, {"_id": 1}))

    async def used(self, conversation: str, invites: Collection[str]) -> dict[str, int]:
        if not invites:
            return {}
        found = await self._connection.aggregate(
            "used",
            INVITES,
            [
                {"$match": {"c": conversation, "i": {"$in": list(invites)}}},
                {"$group": {"_id": "$i", "n": {"$sum": 1}}},
            ],
        )
        return {document["_id"]: document["n"] for document in found}


class MongoJoinRequests:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def ask(self, request: JoinRequestDocument, since: int) -> None:
        # One of before joining was asked for anew begins anew; else only the text changes.
        key = {"_id": paired(request.conversation, request.user), "c": request.conversation}
        fresh: Document = {"t": request.time_ms, "b": request.text, "z": request.stamp}
        await self._connection.update("renew", REQUESTS, [UpdateOne({**key, "z": {"$lt": since}}, {"$set": fresh})])
        first = {"t": request.time_ms, "z": request.stamp}
        update = UpdateOne(key, {"$set": {"b": request.text}, "$setOnInsert": first}, upsert=True)
        await self._connection.update("ask", REQUESTS, [update])

    async def find(self, keys: Collection[MemberKey], since: int) -> set[MemberKey]:
        if not keys:
            return set()
        query = {"_id": {"$in": [paired(*key) for key in keys]}, "z": {"$gte": since}}
        found = await self._connection.find("find", REQUESTS, query, {"c": 1})
        return {MemberKey(document["c"], second_of(document["_id"])) for document in found}

    async def count(self, conversation: str, since: int, most: int) -> int:
        collection = self._connection.collection(REQUESTS)
        query = {"c": conversation, "z": {"$gte": since}}
        return await self._connection.run("count", REQUESTS, lambda: collection.count_documents(query, limit=most))

    async def page(
        self, conversation: str, since: int, after: tuple[int, str], limit: int
    ) -> list[JoinRequestDocument]:
        time_ms, user = after
        query: Document = {
            "c": conversation,
            "z": {"$gte": since},
            "$or": [{"t": {"$gt": time_ms}}, {"t": time_ms, "_id": {"$gt": paired(conversation, user)}}],
        }
        found = await self._connection.find("page", REQUESTS, query, sort=[("t", 1), ("_id", 1)], limit=limit)
        return [
            JoinRequestDocument(document["c"], second_of(document["_id"]), document["b"], document["t"], document["z"])
            for document in found
        ]

    async def drop(self, conversation: str, users: Collection[str] | None, below: int) -> None:
        query: Document = {"c": conversation, "z": {"$lt": below}}
        if users is not None:
            query["_id"] = {"$in": [paired(conversation, user) for user in users]}
        await _delete(self._connection, "drop", REQUESTS, query)


class MongoPaces:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def find(self, keys: Collection[MemberKey]) -> dict[MemberKey, int]:
        if not keys:
            return {}
        found = await self._connection.find("find", PACES, {"_id": {"$in": [paired(*key) for key in keys]}})
        return {MemberKey(document["c"], second_of(document["_id"])): document["t"] for document in found}

    async def write(self, paces: Sequence[Pace]) -> None:
        updates = [
            UpdateOne(
                {"_id": paired(pace.conversation, pace.user), "c": pace.conversation},
                {"$max": {"t": pace.sent_ms, "x": _date(pace.sent_ms)}},
                upsert=True,
            )
            for pace in paces
        ]
        await self._connection.update("write", PACES, updates)


class MongoDissolved:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def note(self, conversation: str, stamp: int) -> None:
        update = UpdateOne({"_id": conversation}, {"$set": {"z": stamp}}, upsert=True)
        await self._connection.update("note", DISSOLVED, [update])

    async def some(self, limit: int) -> list[tuple[str, int]]:
        found = await self._connection.find("some", DISSOLVED, {}, limit=limit)
        return [(document["_id"], document["z"]) for document in found]

    async def release(self, conversation: str, stamp: int, limit: int) -> int:
        query = {**_range(conversation), "u": {"$exists": True}}
        found = await self._connection.find("release", MEMBERS, query, {"_id": 1}, limit=limit, hint=[("_id", 1)])
        updates = [
            UpdateOne(
                {"_id": document["_id"], "c": conversation},
                {"$unset": {"u": "", "x": ""}, "$set": {"gf": True}, "$max": {"z": stamp}},
            )
            for document in found
        ]
        await self._connection.update("release", MEMBERS, updates)
        return len(found)

    async def clear(self, conversation: str) -> None:
        for name in (BANS, INVITES, REQUESTS):
            await _delete(self._connection, "clear", name, {**_range(conversation), "c": conversation})
        await _delete(self._connection, "clear", DISSOLVED, {"_id": conversation})

    async def former(self, keys: Collection[MemberKey]) -> set[MemberKey]:
        if not keys:
            return set()
        query = {
            "_id": {"$in": [paired(*key) for key in keys]},
            "$or": [{"u": {"$exists": True}}, {"gf": True}],
        }
        found = await self._connection.find("former", MEMBERS, query, {"c": 1}, hint=[("_id", 1)])
        return {MemberKey(document["c"], second_of(document["_id"])) for document in found}


def mongo_groups(connection: MongoConnection) -> GroupPorts:
    """All ports for what lies beside members, on one connection."""
    return GroupPorts(
        MongoBans(connection),
        MongoInvites(connection),
        MongoJoinRequests(connection),
        MongoPaces(connection),
        MongoDissolved(connection),
    )


async def _delete(connection: MongoConnection, command: str, name: str, query: Document) -> None:
    await connection.run(command, name, lambda: connection.collection(name).delete_many(query))


def _written(ban: BanDocument) -> UpdateOne:
    # A ban that is gone is remembered for a day, so that no delayed write brings it back.
    changes: Document = {"$set": {"u": ban.user, "z": ban.stamp}, "$unset": {"x": ""}}
    if ban.gone:
        changes = {"$set": {"z": ban.stamp}, "$currentDate": {"x": True}, "$unset": {"u": ""}}
    key = {"_id": paired(ban.conversation, ban.user), "c": ban.conversation, "z": {"$lt": ban.stamp}}
    return UpdateOne(key, changes, upsert=True)


def _invite(document: Document) -> InviteDocument:
    return InviteDocument(
        conversation=document["c"],
        invite=second_of(document["_id"]),
        by=document["b"],
        time_ms=document["t"],
        expires_ms=document["e"],
        uses=document["n"],
        op=document["o"],
        stamp=document["z"],
    )


def _range(conversation: str) -> Document:
    low, high = pairs_of(conversation)
    return {"_id": {"$gt": low, "$lt": high}}


def _date(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
