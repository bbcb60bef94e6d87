"""Data as they were written before there were changes of messages.

`FormerData`: messages and inbox entries in the layout of 0.1.0, and what a reader of that version saw. `EarlierLog`:
the same in the log, as it was before its documents had anything of changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase

from services.storage.repository.records import NORMAL, InboxEntry, StoredMessage

CLUSTERED = {"key": {"_id": 1}, "unique": True}


def numbered(key: str, number: int) -> bytes:
    return key.encode() + b"\0" + number.to_bytes(8, "big")


class EarlierLog:
    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
        self._log = database["log"]

    async def write(self, messages: Sequence[StoredMessage], entries: Sequence[InboxEntry]) -> None:
        await self._log.insert_many([{**_message(each), "p": each.conversation} for each in messages])
        await self._log.update_many({}, {"$unset": {"c": ""}})
        await self._log.insert_many(
            [
                {
                    "_id": user.encode() + b"\1" + number.to_bytes(8, "big"),
                    "p": user,
                    "c": conversation,
                    "q": seq,
                    "t": time_ms,
                }
                for user, number, conversation, seq, time_ms, _ in entries
            ]
        )


class FormerData:
    def __init__(self, database: AsyncIOMotorDatabase[dict[str, Any]]) -> None:
        self._messages, self._inbox = database["messages"], database["inbox"]
        self._database = database

    async def create(self) -> None:
        """The collections, still empty."""
        for name in ("messages", "inbox"):
            await self._database.create_collection(name, clusteredIndex=CLUSTERED)
        await self._messages.create_index([("c", 1), ("s", 1), ("k", 1)], name="client", unique=True)

    async def write(self, messages: Sequence[StoredMessage], entries: Sequence[InboxEntry]) -> None:
        await self._messages.insert_many([_message(each) for each in messages])
        await self._inbox.insert_many(
            [
                {"_id": numbered(user, number), "u": user, "c": conversation, "q": seq, "t": time_ms}
                for user, number, conversation, seq, time_ms, _ in entries
            ]
        )

    async def retain(self, conversation: str, below_seq: int, user: str, below_number: int) -> None:
        """Removes the oldest ones, as retention does."""
        await self._messages.delete_many({"c": conversation, "_id": {"$lt": numbered(conversation, below_seq)}})
        await self._inbox.delete_many({"u": user, "_id": {"$lt": numbered(user, below_number)}})

    async def read(self) -> tuple[dict[str, list[StoredMessage]], dict[str, list[InboxEntry]]]:
        """All messages by conversation, and all entries by user, in order."""
        messages: dict[str, list[StoredMessage]] = {}
        entries: dict[str, list[InboxEntry]] = {}
        for each in await self._messages.find({}, sort=[("_id", 1)]).to_list(None):
            seq = int.from_bytes(each["_id"][-8:], "big")
            message = StoredMessage(each["c"], seq, each["s"], each["k"], each["t"], each["b"])
            message = message._replace(kind=each.get("y", NORMAL), change=each.get("g", b""))
            messages.setdefault(each["c"], []).append(message)
        for each in await self._inbox.find({}, sort=[("_id", 1)]).to_list(None):
            number = int.from_bytes(each["_id"][-8:], "big")
            entries.setdefault(each["u"], []).append(InboxEntry(each["u"], number, each["c"], each["q"], each["t"]))
        return messages, entries


def _message(message: StoredMessage) -> dict[str, Any]:
    document: dict[str, Any] = {
        "_id": numbered(message.conversation, message.seq),
        "c": message.conversation,
        "s": message.sender,
        "k": message.client_id,
        "t": message.time_ms,
        "b": message.content,
    }
    if message.kind != NORMAL:
        document["y"] = message.kind
    if message.change:
        document["g"] = message.change
    return document


def conversation_of(name: str, kind: int, *, head: int, last_ms: int, is_direct: bool) -> dict[str, Any]:
    """A document of `conversations`, as 0.1.0 wrote it. `head`: up to where it is said to be settled."""
    return {
        "_id": name,
        "y": kind,
        "n": "" if is_direct else "friends",
        "o": not is_direct,
        "w": False,
        "e": False,
        "f": 0,
        "v": 0 if is_direct else 1,
        "m": 2,
        "z": 0 if is_direct else 1,
        "a": 0 if is_direct else 1,
        "p": b"",
        "h": head,
        "d": head,
        "t": last_ms,
    }


def member_of(conversation: str, user: str, *, role: int, read_seq: int, joined_ms: int, stamp: int) -> dict[str, Any]:
    """A document of `members`, as 0.1.0 wrote it."""
    return {
        "_id": f"{conversation} {user}",
        "c": conversation,
        "u": user,
        "r": role,
        "j": 1,
        "i": joined_ms,
        "a": read_seq,
        "d": read_seq,
        "z": stamp,
        "l": False,
    }
