"""What every repository promises of messages that are gone at some time."""

from __future__ import annotations

from services.storage.repository.contract import Repository
from services.storage.repository.records import ErasedMessage, StoredMessage

CHAT = "d:ann|bob"


def message(seq: int, expires_ms: int) -> StoredMessage:
    return StoredMessage(
        CHAT, seq, "ann", f"c{seq}", 1000, b"secret %d" % seq, expires_ms=expires_ms, mentions=("bob",)
    )


async def test_what_is_over_is_due_until_it_is_erased(repository: Repository) -> None:
    messages = [message(1, 0), message(2, 3000), message(3, 2000), message(4, 2001), message(5, 9000)]
    await repository.messages.insert(messages)
    assert await repository.expiry.due(1999, 10) == []
    due = await repository.expiry.due(3000, 10)
    assert due == [messages[index]._replace(content=b"") for index in (2, 3, 1)]
    assert [each.seq for each in await repository.expiry.due(3000, 2)] == [3, 4]
    await repository.expiry.erase([ErasedMessage(CHAT, 3, b""), ErasedMessage(CHAT, 4, b"")])
    assert [each.seq for each in await repository.expiry.due(3000, 2)] == [2]


async def test_what_is_erased_keeps_its_place_and_its_time_and_nothing_else(repository: Repository) -> None:
    await repository.messages.insert([message(1, 2000), message(2, 2000)])
    await repository.expiry.erase([ErasedMessage(CHAT, 1, b"gone"), ErasedMessage(CHAT, 7, b"gone")])
    found = await repository.messages.get([(CHAT, 1), (CHAT, 2), (CHAT, 7)])
    assert found == {
        (CHAT, 1): message(1, 2000)._replace(content=b"", mentions=(), state=b"gone"),
        (CHAT, 2): message(2, 2000),
    }
    await repository.expiry.erase([])


async def test_a_message_that_is_removed_is_not_due(repository: Repository) -> None:
    await repository.messages.insert([message(1, 2000)])
    assert await repository.messages.remove(CHAT, 2) == 1
    assert await repository.expiry.due(5000, 10) == []
