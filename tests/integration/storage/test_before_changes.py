"""Data from before messages could be changed: they open, ordinals and unread counts are right, and all can be changed.

Written by hand in the layouts of then: that of 0.1.0, which is taken over, and the log before its documents had
anything of changes. The owner died before it wrote down how far the direct chat is, and before bob's last entry.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.clock import SystemClock
from services.storage.limits import Limits
from services.storage.migrate import migrated
from services.storage.node import Storage
from services.storage.owners.peers import NoPeers
from services.storage.repository.mongo.connection import MongoConnection, connected
from services.storage.repository.mongo.migration import Migration
from services.storage.repository.mongo.repository import ensure_schema, make_schema, mongo_repository
from services.storage.repository.records import SYSTEM, InboxEntry, StoredMessage
from services.storage.wiring import open_storage
from tests.integration.storage.former_data import EarlierLog, FormerData, conversation_of, member_of
from tests.support.cluster.mongod import Mongod
from tests.unit.storage.changing import edit, edit_of, in_group, pin, pin_of, recall, recall_of, state_of
from tests.unit.storage.nodes import content_of, inbox_of, post, react, send, stored
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError

pytestmark = pytest.mark.integration

CHAT, GROUP, BOTH = "d:ann|bob", "g:old", ("ann", "bob")
DIRECT, GROUP_KIND, OWNER, MEMBER = 1, 2, 3, 1
BEGAN_MS = int(time.time() * 1000) - 60_000


def said(conversation: str, seq: int, sender: str) -> StoredMessage:
    content = content_of(f"{sender} {seq}")
    return StoredMessage(conversation, seq, sender, f"c{seq}", BEGAN_MS + seq, content)


SENDERS = ("ann", "ann", "bob", "ann")
NOTICE = StoredMessage(GROUP, 1, "ann", "~op create", BEGAN_MS + 1, content_of("create"), SYSTEM)
MESSAGES = [
    *(said(CHAT, seq, sender) for seq, sender in enumerate(SENDERS, start=1)),
    NOTICE,
    *(said(GROUP, seq, sender) for seq, sender in enumerate(SENDERS[1:], start=2)),
]
PLACES = [(GROUP, seq) for seq in range(1, 5)] + [(CHAT, seq) for seq in range(1, 5)]
ENTRIES = [
    InboxEntry(user, number, conversation, seq, BEGAN_MS + seq)
    for user in BOTH
    for number, (conversation, seq) in enumerate(PLACES, start=1)
    if (user, conversation, seq) != ("bob", CHAT, 4)
]
READ = {(CHAT, "ann"): 2, (CHAT, "bob"): 1, (GROUP, "ann"): 2, (GROUP, "bob"): 1}

Write = Callable[[MongoConnection], Awaitable[None]]


async def as_0_1_0(connection: MongoConnection) -> None:
    former = FormerData(connection.database)
    await former.create()
    await former.write(MESSAGES, ENTRIES)
    await around(connection)
    await make_schema(connection)

    async def nobody() -> Sequence[str]:
        return ()

    await migrated(Migration(connection), nobody, SystemClock(), lambda _: None)


async def as_earlier_log(connection: MongoConnection) -> None:
    await make_schema(connection)
    await EarlierLog(connection.database).write(MESSAGES, ENTRIES)
    await around(connection, k=2)
    await connection.database["meta"].insert_one({"_id": "layout", "v": "log"})


async def around(connection: MongoConnection, **told: int) -> None:
    """Conversations and members. `told`: watermarks that 0.1.0 did not have."""
    await connection.database["conversations"].insert_many(
        [
            {**conversation_of(CHAT, DIRECT, head=2, last_ms=BEGAN_MS + 2, is_direct=True), **told},
            {**conversation_of(GROUP, GROUP_KIND, head=4, last_ms=BEGAN_MS + 4, is_direct=False), **told},
        ]
    )
    await connection.database["members"].insert_many(
        [
            member_of(
                conversation,
                user,
                role=OWNER if (conversation, user) == (GROUP, "ann") else MEMBER,
                read_seq=read_seq,
                joined_ms=BEGAN_MS,
                stamp=int(conversation == GROUP),
            )
            for (conversation, user), read_seq in READ.items()
        ]
    )


@asynccontextmanager
async def opened(connection: MongoConnection) -> AsyncIterator[Storage]:
    """A node that has just come."""
    await ensure_schema(connection)
    limits = Limits(flush_interval_s=1e6)
    async with open_storage(mongo_repository(connection), NoPeers(), SystemClock(), limits) as node:
        yield node


@pytest.fixture(params=[as_0_1_0, as_earlier_log])
async def connection(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MongoConnection]:
    write: Write = request.param
    mongod = Mongod(tmp_path)
    await mongod.start()
    try:
        async with connected(mongod.uri, "old", SystemClock(), timeout_s=30, connections_max=4, name="test") as found:
            await write(found)
            yield found
    finally:
        await mongod.stop()


async def unread(node: Storage, user: str) -> dict[str, tuple[int, int, int]]:
    """By conversation: how many are unread, the ordinals of the read position and of the newest message."""
    (page,) = await node.lists.pages([pb.ConversationsItem(user=user)])
    return {each.record.conversation: (each.unread, each.read_ordinal, each.record.ordinal) for each in page.entries}


async def history(node: Storage, conversation: str, *, changes: bool = False) -> list[client_pb2.Message]:
    asked = pb.HistoryItem(conversation=conversation, user="bob", limit=100, changes=changes)
    (page,) = await node.pages.history([asked])
    return [client_pb2.Message.FromString(entry.message) for entry in page.entries]


async def reacted(node: Storage, item: pb.StoreItem) -> pb.StoreOutcome:
    (outcome,) = await node.reactions.react([item])
    assert not isinstance(outcome, TidingsError)
    return outcome


def ordinals(messages: Sequence[client_pb2.Message]) -> list[tuple[int, int]]:
    return [(message.seq, message.ordinal) for message in messages]


async def test_what_was_there_is_counted_as_before_and_nothing_is_missing(connection: MongoConnection) -> None:
    async with opened(connection) as node:
        assert await unread(node, "bob") == {CHAT: (2, 1, 4), GROUP: (2, 1, 4)}
        assert await unread(node, "ann") == {CHAT: (1, 2, 4), GROUP: (1, 2, 4)}
        for conversation in (CHAT, GROUP):
            found = await history(node, conversation, changes=True)
            assert ordinals(found) == [(1, 1), (2, 2), (3, 3), (4, 4)]
            assert not any(message.HasField("state") for message in found)
        assert await inbox_of(node, "bob") == [(number, *place) for number, place in enumerate(PLACES, start=1)], (
            "the entry that was missing is there"
        )
        repeated = send("ann", "bob", "c4", "ann 4")
        [outcome] = await stored(node, repeated)
        assert (outcome.status, outcome.seq) == (pb.StoreOutcome.DUPLICATE, 4)


async def test_messages_of_then_are_edited_reacted_to_pinned_and_recalled(connection: MongoConnection) -> None:
    async with opened(connection) as node:
        [edited] = await stored(node, edit("ann", "bob", "e", 1, "better"))
        assert (edited.seq, state_of(edited).revision) == (5, 5)
        liked = await reacted(node, react(CHAT, 2, "bob", "+1", recipients=BOTH))
        assert liked.seq == 6
        [pinned, recalled, sent] = await stored(
            node, pin("bob", "ann", "p", 3), recall("ann", "bob", "r", 4), send("bob", "ann", "s")
        )
        assert (pinned.seq, recalled.seq, sent.seq, sent.ordinal) == (7, 8, 9, 5)
        outcomes = await stored(
            node,
            in_group(GROUP, "bob", "e", edit_of(3), version=1, recipients=BOTH, content=content_of("better")),
            in_group(GROUP, "ann", "p", pin_of(2), version=1, recipients=BOTH, rights=pb.ActorRights(role=OWNER)),
            in_group(GROUP, "ann", "r", recall_of(4), version=1, recipients=BOTH),
            post(GROUP, "ann", "s", 1, BOTH),
        )
        assert [each.seq for each in outcomes] == [5, 6, 7, 8]

    async with opened(connection) as node:  # another one, which has nothing in memory
        chat = {message.seq: message for message in await history(node, CHAT)}
        assert ordinals(list(chat.values())) == [(1, 1), (2, 2), (3, 3), (4, 4), (9, 5)]
        assert (chat[1].content.text, chat[1].state.revision) == ("better", 5)
        assert [(each.reaction, each.count, each.mine) for each in chat[2].state.reactions] == [("+1", 1, True)]
        assert chat[3].state.pinned
        assert (chat[4].state.recalled_by, chat[4].HasField("content")) == ("ann", False)
        assert ordinals(await history(node, GROUP)) == [(1, 1), (2, 2), (3, 3), (4, 4), (8, 5)]
        # Of those that bob had not read, one is recalled in each.
        assert await unread(node, "bob") == {CHAT: (1, 1, 5), GROUP: (2, 1, 5)}
        assert len(await inbox_of(node, "bob")) == 17
        await node.cursors.mark([pb.MarkItem(conversation=CHAT, user="bob", read_seq=9)])
        assert (await unread(node, "bob"))[CHAT] == (0, 5, 5)
