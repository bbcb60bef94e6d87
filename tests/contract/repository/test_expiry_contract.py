"""What every repository promises of messages that are gone at some time, and of what is left of those that go."""

from __future__ import annotations

from services.storage.repository.contract import Repository
from services.storage.repository.records import (
    CHANGE,
    MAX_NUMBER,
    ConversationDocument,
    Erasure,
    Fold,
    PinList,
    StoredMessage,
)
from tidings_protocol import client_pb2

CHAT, OTHER = "d:ann|bob", "d:ann|cleo"


def message(seq: int, expires_ms: int) -> StoredMessage:
    return StoredMessage(
        CHAT, seq, "ann", f"c{seq}", 1000, b"secret %d" % seq, expires_ms=expires_ms, mentions=("bob",)
    )


def edit(seq: int, target: int, conversation: str = CHAT) -> StoredMessage:
    act = client_pb2.Change(seq=target, edit=client_pb2.Content()).SerializeToString()
    return StoredMessage(
        conversation, seq, "ann", f"c{seq}", 1000, b"secret", CHANGE, act=act, mentions=("bob",), former=b"before"
    )


def bare(change: StoredMessage) -> StoredMessage:
    """The CHANGE without anything that it says of its target."""
    return change._replace(content=b"", mentions=(), former=b"", state=b"")


async def test_what_is_over_is_due_until_it_is_done_with(repository: Repository) -> None:
    messages = [message(1, 0), message(2, 3000), message(3, 2000), message(4, 2001), message(5, 9000)]
    await repository.messages.insert(messages)
    assert await repository.expiry.due(1999, 10) == []
    due = await repository.expiry.due(3000, 10)
    assert due == [messages[index]._replace(content=b"") for index in (2, 3, 1)]
    assert [each.seq for each in await repository.expiry.due(3000, 2)] == [3, 4]
    await repository.expiry.done([(CHAT, 3), (CHAT, 4), (CHAT, 77)])
    assert [each.seq for each in await repository.expiry.due(3000, 2)] == [2]
    assert (await repository.messages.get([(CHAT, 3)]))[CHAT, 3] == messages[2]
    await repository.expiry.done([])


async def test_a_message_that_is_removed_is_not_due(repository: Repository) -> None:
    await repository.messages.insert([message(1, 2000)])
    assert await repository.messages.remove(CHAT, 2) == 1
    assert await repository.expiry.due(5000, 10) == []


async def test_the_last_fold_of_all_is_never_folded_over(repository: Repository) -> None:
    await repository.messages.insert([message(1, 2000)])
    await repository.messages.fold([Fold(CHAT, 1, MAX_NUMBER, b"gone", b"")])
    await repository.messages.fold([Fold(CHAT, 1, 9, b"late", b"late", ("bob",))])
    (found,) = (await repository.messages.get([(CHAT, 1)])).values()
    assert found == message(1, 2000)._replace(content=b"", mentions=(), state=b"gone")


async def test_everything_that_changes_say_of_a_message_can_be_erased(repository: Repository) -> None:
    await repository.messages.insert([message(1, 2000), edit(2, 1)])
    await repository.messages.erase([Erasure(CHAT, 1, MAX_NUMBER, contents=True, everything=True)])
    (found,) = (await repository.messages.get([(CHAT, 2)])).values()
    assert found == edit(2, 1)._replace(content=b"", mentions=(), former=b"")


async def test_what_goes_is_pinned_no_more(repository: Repository) -> None:
    await repository.conversations.create([ConversationDocument(CHAT, 1)])
    await repository.conversations.pin([PinList(CHAT, (3, 2, 1), 9)])
    await repository.expiry.unpin([(CHAT, 2), (CHAT, 7), (OTHER, 3)])
    found = (await repository.conversations.load([CHAT]))[CHAT]
    assert (found.pinned, found.pinned_at) == ((3, 1), 9)
    await repository.expiry.unpin([])


async def test_what_changes_say_of_messages_that_go_is_erased_and_the_changes_stay(repository: Repository) -> None:
    reacted = client_pb2.Change(seq=1, reacted=client_pb2.Change.Reacted())
    reacted.reacted.added.add(user="bob", reaction="+1")
    reaction = edit(6, 1)._replace(act=reacted.SerializeToString(), state=b"state", content=b"", former=b"")
    log = [message(1, 0), message(2, 0), message(3, 0), edit(4, 1), edit(5, 3), reaction, edit(7, 2)]
    await repository.messages.insert([*log, message(1, 0)._replace(conversation=OTHER), edit(4, 1, OTHER)])
    assert await repository.expiry.erase_changes(CHAT, 3) == 3
    assert await repository.expiry.erase_changes(CHAT, 3) == 0
    found = await repository.messages.get([(CHAT, seq) for seq in range(1, 8)] + [(OTHER, 4)])
    told = client_pb2.Change(seq=1, reacted=client_pb2.Change.Reacted()).SerializeToString()
    assert [found[CHAT, seq] for seq in (1, 2, 3, 5)] == [log[0], log[1], log[2], log[4]]
    assert [found[CHAT, seq] for seq in (4, 7)] == [bare(log[3]), bare(log[6])]
    assert found[CHAT, 6] == bare(reaction)._replace(act=told)
    assert found[OTHER, 4] == edit(4, 1, OTHER)
