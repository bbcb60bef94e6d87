"""Messages and inbox entries as version 0.1.0 wrote them, and what a reader of that version saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase

from services.storage.repository.records import NORMAL, InboxEntry, StoredMessage

CLUSTERED = {"key": {"_id": 1}, "unique": True}


def numbered(key: str, number: int) -> bytes:
    return key.encode() + b"\0" + number.to_bytes(8, "big")


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
