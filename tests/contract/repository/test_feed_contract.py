"""What the feed of events is promised of the database: positions, what was written after them, heartbeats."""

from __future__ import annotations

from services.storage.repository.contract import Repository
from services.storage.repository.records import (
    ConversationDocument,
    Heartbeat,
    InboxEntry,
    MadeChange,
    OpKey,
    StoredMessage,
    Watermark,
)


def message(conversation: str, seq: int) -> StoredMessage:
    return StoredMessage(conversation, seq, "ann", f"c{seq}", 1000 + seq, b"hello")


async def test_what_was_written_after_a_position_names_the_conversations_of_messages_and_of_changes(
    repository: Repository,
) -> None:
    await repository.log.insert([message("d:ann|bob", 1)], [])
    position = await repository.feed.position()
    assert await repository.feed.written_after(position) == set()
    entry = InboxEntry("ann", 1, "d:ann|cid", 1, 1001)
    await repository.log.insert([message("d:ann|cid", 1)], [entry])
    await repository.changes.keep([MadeChange(OpKey("g:1", "ann", "op"), b"x", 1_700_000_000_000, 3)])
    later = await repository.feed.position()
    assert later > position
    assert await repository.feed.written_after(position) == {"d:ann|cid", "g:1"}
    await repository.log.insert([message("d:ann|cid", 2)], [])
    assert await repository.feed.written_after(later) == {"d:ann|cid"}


async def test_a_heartbeat_takes_the_place_of_the_one_before_until_it_is_forgotten(repository: Repository) -> None:
    assert await repository.users.epoch("e") == "e"
    await repository.feed.beat(Heartbeat("one", 7))
    await repository.feed.beat(Heartbeat("two", 2**62))
    await repository.feed.beat(Heartbeat("one", 5))
    assert sorted(await repository.feed.heartbeats()) == [("one", 5), ("two", 2**62)]
    await repository.feed.forget(["one", "three"])
    assert await repository.feed.heartbeats() == [("two", 2**62)]


async def test_changes_after_a_stamp_come_by_their_stamp(repository: Repository) -> None:
    time_ms = 1_700_000_000_123
    made = [MadeChange(OpKey("g:1", "ann", f"op {stamp}"), b"x", time_ms, stamp) for stamp in (3, 1, 2)]
    await repository.changes.keep([*made, MadeChange(OpKey("g:10", "ann", "op"), b"x", time_ms, 9)])
    assert await repository.changes.after("g:1", 1) == [made[2], made[0]]
    assert await repository.changes.after("g:1", 3) == []


async def test_how_far_a_conversation_is_told_moves_up_and_stays_when_the_group_changes(repository: Repository) -> None:
    group = ConversationDocument("g:1", 2, stamp=1)
    await repository.conversations.swap(group, 0)
    await repository.conversations.advance([Watermark("g:1", 5, 5, told=4, told_stamp=1)])
    await repository.conversations.advance([Watermark("g:1", 5, 5, told=3)])
    await repository.conversations.swap(ConversationDocument("g:1", 2, stamp=2), 1)
    [found] = (await repository.conversations.load(["g:1"])).values()
    assert (found.told, found.told_stamp, found.stamp) == (4, 1, 2)


async def test_nothing_is_told_of_a_conversation_that_is_new(repository: Repository) -> None:
    await repository.conversations.create([ConversationDocument("d:ann|bob", 1)])
    await repository.conversations.advance([Watermark("d:ann|bob", 5, 5)])
    [found] = (await repository.conversations.load(["d:ann|bob"])).values()
    assert (found.settled, found.told) == (5, 0)
