"""Conversations and their members in MongoDB.

    conversations  _id id  n name  y kind  o open  w channel  e share history  f large from  v version  m members
                   z stamp  a applied seq  p pending change  h head  d settled  t last time  r first seq kept
                   k told  q told stamp  b changes  s shown  pi pinned  pa the CHANGE that made it so
                   st open streams
                   k told  q told stamp  b changes  s shown
                   of groups that have them: gs settings  gl slow  ga asked from  gb bans  gx dissolved
    members        _id "conversation user"  c conversation  u user, unless gone  r role  j joined seq  i joined time
                   a read seq  d delivered seq  z stamp  l large  x when gone  mu muted until, if muted
                   gf of a dissolved group: was a member at its end

Guarantees: those of the ports.
Does not know: what a change is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from services.storage.limits import LEAD_MAX_MS, LEADERS_MAX
from services.storage.repository.keys import paired, pairs_of, second_of
from services.storage.repository.mongo.connection import Document, MongoConnection
from services.storage.repository.mongo.schema import CONVERSATIONS, LEADERS, MEMBERS
from services.storage.repository.records import (
    ConversationDocument,
    MemberCursor,
    MemberDocument,
    MemberKey,
    PinList,
    Watermark,
)

ADMIN = 2
# Ranges in one `$or`; MEMBERS is not clustered, so each is a range of its index.
OR_MAX = 100
# Said, because the planner may prefer the index of all who are members anywhere.
BY_ID = [("_id", 1)]


class MongoConversations:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def load(self, conversations: Collection[str]) -> dict[str, ConversationDocument]:
        if not conversations:
            return {}
        found = await self._connection.find("load", CONVERSATIONS, {"_id": {"$in": list(conversations)}})
        return {document["_id"]: _conversation(document) for document in found}

    async def create(self, documents: Sequence[ConversationDocument]) -> None:
        updates = [
            UpdateOne(
                {"_id": each.conversation},
                {"$setOnInsert": {**_decided(each), "h": each.head, "d": each.settled, "t": each.last_ms, "k": 0}},
                upsert=True,
            )
            for each in documents
        ]
        await self._connection.update("create", CONVERSATIONS, updates)

    async def swap(self, document: ConversationDocument, expected_stamp: int) -> bool:
        changes: Document = {"$set": _decided(document)}
        if without := {name: "" for name in _OWN if name not in changes["$set"]}:
            changes["$unset"] = without
        if not expected_stamp:
            changes["$setOnInsert"] = {"h": 0, "d": 0, "t": 0, "k": 0}
        query = {"_id": document.conversation, "z": expected_stamp}
        collection = self._connection.collection(CONVERSATIONS)

        async def call() -> bool:
            try:
                after = await collection.find_one_and_update(
                    query,
                    changes,
                    projection={"_id": 1},
                    upsert=not expected_stamp,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                return False
            return after is not None

        return await self._connection.run("swap", CONVERSATIONS, call)

    async def advance(self, watermarks: Sequence[Watermark]) -> None:
        updates = [
            UpdateOne({"_id": mark.conversation}, {"$max": higher})
            for mark in watermarks
            if (higher := _moved_up(mark))
        ]
        updates += [
            UpdateOne(
                {"_id": mark.conversation, "t": {"$gt": mark.last_ms + LEAD_MAX_MS}}, {"$set": {"t": mark.last_ms}}
            )
            for mark in watermarks
            if mark.was_ahead
        ]
        updates += [
            UpdateOne({"_id": mark.conversation, "z": mark.applied_stamp}, {"$unset": {"p": ""}})
            for mark in watermarks
            if mark.applied_stamp
        ]
        await self._connection.update("advance", CONVERSATIONS, updates)

    async def pin(self, lists: Sequence[PinList]) -> None:
        updates = [
            UpdateOne(
                {"_id": each.conversation, "pa": {"$not": {"$gte": each.at}}},
                {"$set": {"pi": list(each.seqs), "pa": each.at}},
            )
            for each in lists
        ]
        await self._connection.update("pin", CONVERSATIONS, updates)

    async def after(self, conversation: str, limit: int) -> list[ConversationDocument]:
        found = await self._connection.find(
            "after", CONVERSATIONS, {"_id": {"$gt": conversation}}, sort=[("_id", 1)], limit=limit
        )
        return [_conversation(document) for document in found]

    async def times(self, conversations: Collection[str]) -> dict[str, int]:
        query = {"_id": {"$in": list(conversations)}}
        found = await self._connection.find("times", CONVERSATIONS, query, {"t": 1})
        return {document["_id"]: document["t"] for document in found}


class MongoMembers:
    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    async def all_in(self, conversations: Collection[str]) -> dict[str, list[MemberDocument]]:
        keys = list(conversations)
        found: dict[str, list[MemberDocument]] = {}
        for start in range(0, len(keys), OR_MAX):
            ranges = [_range(key) for key in keys[start : start + OR_MAX]]
            query = {"$or": ranges, "u": {"$exists": True}}
            for document in await self._connection.find("of", MEMBERS, query, hint=BY_ID):
                found.setdefault(document["c"], []).append(_member(document))
        return found

    async def find(self, keys: Collection[MemberKey]) -> dict[MemberKey, MemberDocument]:
        if not keys:
            return {}
        query = {"_id": {"$in": [paired(*key) for key in keys]}, "u": {"$exists": True}}
        found = await self._connection.find("find", MEMBERS, query, hint=BY_ID)
        return {MemberKey(document["c"], document["u"]): _member(document) for document in found}

    async def write(self, members: Sequence[MemberDocument]) -> None:
        updates = [_gone(each) if each.gone else _present(each) for each in members]
        await self._connection.update("write", MEMBERS, updates)

    async def advance(self, cursors: Sequence[MemberCursor]) -> None:
        updates = [
            UpdateOne({"_id": paired(each.conversation, each.user), "c": each.conversation}, {"$max": higher})
            for each in cursors
            if (higher := _higher(a=each.read_seq, d=each.delivered_seq))
        ]
        await self._connection.update("advance", MEMBERS, updates)

    async def page(self, conversation: str, after: str, limit: int) -> list[MemberDocument]:
        query = {**_range(conversation), "u": {"$exists": True}}
        if after:
            query["_id"]["$gt"] = paired(conversation, after)
        found = await self._connection.find("page", MEMBERS, query, sort=BY_ID, limit=limit, hint=BY_ID)
        return [_member(document) for document in found]

    async def memberships(self, users: Collection[str], *, large_only: bool) -> dict[str, list[MemberDocument]]:
        query: Document = {"u": {"$in": list(users)}}
        if large_only:
            query["l"] = True
        found: dict[str, list[MemberDocument]] = {}
        for document in await self._connection.find("memberships", MEMBERS, query):
            found.setdefault(document["u"], []).append(_member(document))
        return found

    async def joined(self, user: str) -> list[str]:
        found = await self._connection.find("joined", MEMBERS, {"u": user}, {"_id": 0, "c": 1})
        return [document["c"] for document in found]

    async def leaders(self, conversation: str) -> list[MemberDocument]:
        query = {"c": conversation, "r": {"$gt": 1}, "u": {"$exists": True}}
        found = await self._connection.find("leaders", MEMBERS, query, limit=LEADERS_MAX, hint=LEADERS)
        return [_member(document) for document in found]

    async def successor(self, conversation: str, owner: str) -> str:
        others: Document = {**_range(conversation), "u": {"$exists": True, "$ne": owner}}
        for query in ({**others, "r": ADMIN}, others):
            oldest = await self._connection.find(
                "successor", MEMBERS, query, {"u": 1}, sort=[("i", 1), ("u", 1)], limit=1, hint=BY_ID
            )
            if oldest:
                return str(oldest[0]["u"])
        return ""


def _moved_up(mark: Watermark) -> dict[str, int]:
    return _higher(
        h=mark.head,
        d=mark.settled,
        t=mark.last_ms,
        r=mark.first_seq,
        k=mark.told,
        q=mark.told_stamp,
        b=mark.changes,
        s=mark.shown,
    )


def _higher(**fields: int) -> dict[str, int]:
    return {name: value for name, value in fields.items() if value}


def _range(conversation: str) -> Document:
    low, high = pairs_of(conversation)
    return {"_id": {"$gt": low, "$lt": high}}


def _decided(document: ConversationDocument) -> Document:
    """The fields that a change decides: all but the watermarks."""
    return {
        "y": document.kind,
        "n": document.name,
        "o": document.open,
        "w": document.channel,
        "e": document.share_history,
        "f": document.large_from,
        "v": document.version,
        "m": document.member_count,
        "z": document.stamp,
        "a": document.applied_seq,
        "p": document.pending,
        **{name: value for name, value in _own(document).items() if value},
    }


def _own(document: ConversationDocument) -> Document:
    """The fields that few conversations have."""
    return {
        "gs": document.settings,
        "gl": document.slow_s,
        "ga": document.asked_from,
        "gb": document.bans,
        "gx": document.dissolved,
    }


_OWN = tuple(_own(ConversationDocument("", 0)))


def _conversation(document: Document) -> ConversationDocument:
    return ConversationDocument(
        conversation=document["_id"],
        kind=document["y"],
        name=document["n"],
        open=document["o"],
        channel=document["w"],
        share_history=document["e"],
        large_from=document["f"],
        version=document["v"],
        member_count=document["m"],
        stamp=document["z"],
        applied_seq=document["a"],
        pending=document.get("p", b""),
        head=document["h"],
        settled=document["d"],
        last_ms=document["t"],
        first_seq=document.get("r", 0),
        # What was settled before storage nodes wrote how far they are was told by logic nodes of 0.1.0.
        told=document["k"] if "k" in document else document["d"],
        told_stamp=document.get("q", 0),
        changes=document.get("b", 0),
        # Nothing but messages was stored before there were changes.
        shown=document["s"] if "s" in document else document["h"],
        streams=tuple(document.get("st", ())),
        pinned=tuple(document.get("pi", ())),
        pinned_at=document.get("pa", 0),
        settings=document.get("gs", b""),
        slow_s=document.get("gl", 0),
        asked_from=document.get("ga", 0),
        bans=document.get("gb", 0),
        dissolved=document.get("gx", False),
    )


def _present(member: MemberDocument) -> UpdateOne:
    present: Document = {
        "u": member.user,
        "r": member.role,
        "j": member.joined_seq,
        "i": member.joined_ms,
        "z": member.stamp,
        "l": member.large,
    }
    without = {"x": ""}
    if member.muted_until_ms:
        present["mu"] = member.muted_until_ms
    else:
        without["mu"] = ""
    cursors = {"a": member.read_seq, "d": member.delivered_seq}
    return UpdateOne(_older(member), {"$set": present, "$max": cursors, "$unset": without}, upsert=True)


def _gone(member: MemberDocument) -> UpdateOne:
    # By MongoDB's own clock, which is also the one that ends it.
    changes: Document = {"$set": {"z": member.stamp}, "$currentDate": {"x": True}, "$unset": {"u": ""}}
    if member.former:
        changes = {"$set": {"z": member.stamp, "gf": True}, "$unset": {"u": "", "x": ""}}
    return UpdateOne(_older(member), changes, upsert=True)


def _older(member: MemberDocument) -> Document:
    """The filter for what is there with a lower stamp. If its stamp is not lower, the upsert meets its `_id` and does
    nothing.
    """
    key = paired(member.conversation, member.user)
    return {"_id": key, "c": member.conversation, "z": {"$lt": member.stamp}}


def _member(document: Document) -> MemberDocument:
    return MemberDocument(
        conversation=document["c"],
        user=second_of(document["_id"]),
        role=document["r"],
        joined_seq=document["j"],
        joined_ms=document["i"],
        read_seq=document["a"],
        delivered_seq=document["d"],
        stamp=document["z"],
        large=document["l"],
        muted_until_ms=document.get("mu", 0),
    )
