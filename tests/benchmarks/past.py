"""A past of so many messages, written by the repository of storage: conversations, members, inboxes, users.

Each conversation is a direct chat of 500 messages, each user is in four of them, and each message stands in the inboxes
of both. So with ten times the messages there are ten times the conversations and users, and each of them is as before.

Guarantees: it may be stopped and started: what is there already is passed over.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from services.storage.repository.contract import Repository
from services.storage.repository.records import ConversationDocument, InboxEntry, MemberDocument, StoredMessage
from tidings_protocol.client_pb2 import Content
from tidings_protocol.ids import direct

EACH = 500  # messages of a conversation
OF_A_USER = 4  # conversations
WRITERS = 4
ROUND = 40  # conversations, after which it can be gone on from
DAYS_AGO = 400
DAY_MS = 24 * 3600 * 1000
TEXT_BYTES = 128
DIRECT = 1


@dataclass(frozen=True, slots=True)
class Past:
    """`messages` is a multiple of 1,000, so that all users are alike."""

    messages: int

    @property
    def conversations(self) -> int:
        return self.messages // EACH

    @property
    def users(self) -> int:
        return self.conversations * 2 // OF_A_USER

    def pair(self, chat: int) -> tuple[str, str]:
        """The users of a conversation: each user writes to the next and to the one after that."""
        one, far = chat % self.users, chat // self.users + 1
        return self.user(one), self.user((one + far) % self.users)

    def conversation(self, chat: int) -> str:
        return direct(*self.pair(chat))

    def user(self, number: int) -> str:
        return f"past-{number % self.users:07d}"


async def write(repository: Repository, past: Past, done: int) -> AsyncIterator[int]:
    """Writes the conversations from `done` on; gives how many are there, again and again."""
    base_ms = int(time.time() * 1000) - DAYS_AGO * DAY_MS
    while done < past.conversations:
        end = min(done + ROUND, past.conversations)
        chats = iter(range(done, end))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(_write_chats(repository, past, chats, base_ms))
        done = end
        yield done


async def _write_chats(repository: Repository, past: Past, chats: Iterator[int], base_ms: int) -> None:
    for chat in chats:
        await _write_chat(repository, past, chat, base_ms)


async def _write_chat(repository: Repository, past: Past, chat: int, base_ms: int) -> None:
    one, other = past.pair(chat)
    key = direct(one, other)
    layer = chat // past.users  # a user's inbox has the chats one after the other: two of each layer
    seqs = range(1, EACH + 1)
    times = [base_ms + layer * DAY_MS + seq * 1000 for seq in seqs]
    messages = [
        StoredMessage(key, seq, (one, other)[seq % 2], f"{chat * EACH + seq:024x}", time_ms, _content())
        for seq, time_ms in zip(seqs, times, strict=True)
    ]
    entries = [
        InboxEntry(user, (2 * layer + place) * EACH + seq, key, seq, time_ms)
        for place, user in enumerate((one, other))
        for seq, time_ms in zip(seqs, times, strict=True)
    ]
    await _insert(repository, messages, entries)
    await repository.users.create([one, other], times[0], welcomed=True)
    await repository.members.write(
        [MemberDocument(key, user, read_seq=EACH, delivered_seq=EACH, stamp=1) for user in (one, other)]
    )
    await repository.conversations.create(
        [ConversationDocument(key, DIRECT, member_count=2, head=EACH, settled=EACH, last_ms=times[-1])]
    )


async def _insert(repository: Repository, messages: list[StoredMessage], entries: list[InboxEntry]) -> None:
    """All of them; one that is there already, from a run that was stopped, is passed over."""
    while messages or entries:
        done, conflict = await repository.log.insert(messages, entries)
        if conflict is None:
            return
        passed = done + 1
        messages, entries = messages[passed:], entries[max(0, passed - len(messages)) :]


def _content() -> bytes:
    return Content(text=os.urandom(TEXT_BYTES // 2).hex()).SerializeToString()
