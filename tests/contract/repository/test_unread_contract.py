"""What every repository of messages promises about what is unread."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from protos.tidings.internal.v1 import storage_pb2
from services.storage.repository.contract import MENTIONS_MAX, Repository
from services.storage.repository.records import (
    CHANGE,
    EVERYBODY,
    MAX_NUMBER,
    SYSTEM,
    Fold,
    Mention,
    StoredMessage,
    UnreadCount,
    UnreadSpan,
)
from tidings_protocol import client_pb2

CHAT, GROUP = "d:ann|bob", "g:1"
NOW_MS = 5000
ACT = client_pb2.Change(seq=1, pin=True).SerializeToString()
RECALLED = storage_pb2.FoldedState()
RECALLED.state.recalled_by = "bob"


@dataclass
class Log:
    """A repository, as these tests ask it."""

    repository: Repository

    async def recall(self, conversation: str, seq: int) -> None:
        fold = Fold(conversation, seq, 99, RECALLED.SerializeToString(), content=b"")
        await self.repository.messages.fold([fold])

    async def unread(self, *spans: UnreadSpan, user: str = "ann") -> list[UnreadCount]:
        return await self.repository.messages.unread(user, spans, NOW_MS)


@pytest.fixture
def log(repository: Repository) -> Log:
    """An empty one."""
    return Log(repository)


def message(seq: int, sender: str = "bob", conversation: str = CHAT, **fields: object) -> StoredMessage:
    return StoredMessage(conversation, seq, sender, str(seq), 1000 + seq, b"hello", **fields)  # type: ignore[arg-type]


def span(after: int = 0, *, before: int = MAX_NUMBER, limit: int = 100, conversation: str = CHAT) -> UnreadSpan:
    return UnreadSpan(conversation, after, before, limit)


async def test_what_others_sent_counts_and_what_one_sent_oneself_does_not(log: Log) -> None:
    await log.repository.messages.insert([message(1), message(2, "ann"), message(3, kind=SYSTEM), message(4)])
    ann, later, bounded = await log.unread(span(), span(2), span(before=4))
    (bob,) = await log.unread(span(), user="bob")
    assert ann == UnreadCount(3, (), 0, 4, 4)
    assert bob == UnreadCount(1, (), 0, 4, 4)
    assert later == UnreadCount(2, (), 0, 4, 4)
    assert bounded == UnreadCount(2, (), 0, 3, 3)


async def test_nothing_is_there_of_an_empty_span(log: Log) -> None:
    await log.repository.messages.insert([message(1)])
    assert await log.unread(span(1), span(conversation=GROUP)) == [UnreadCount(), UnreadCount()]
    assert await log.unread() == []


async def test_recalled_expired_hidden_and_changes_do_not_count(log: Log) -> None:
    await log.repository.messages.insert(
        [
            message(1),
            message(2),
            message(3, expires_ms=NOW_MS),
            message(4, expires_ms=NOW_MS + 1),
            message(5, kind=CHANGE, act=ACT),
            message(6, before=1),
            message(7, kind=CHANGE, before=1, act=ACT),
        ]
    )
    await log.recall(CHAT, 1)
    hiding = span()._replace(hidden=frozenset({6, 99}))
    assert await log.unread(span(), span(5)) == [UnreadCount(3, (), 0, 7, 5), UnreadCount(1, (), 1, 7, 5)]
    assert await log.unread(hiding, span(conversation=GROUP)) == [UnreadCount(2, (), 0, 7, 5), UnreadCount()]


async def test_who_is_mentioned_is_told_where(log: Log) -> None:
    await log.repository.messages.insert(
        [
            message(1, mentions=("ann", "cid")),
            message(2, mentions=("cid",)),
            message(3, mentions=(EVERYBODY,)),
            message(4, "ann", mentions=("ann", EVERYBODY)),
            message(5, kind=CHANGE, act=ACT, mentions=("ann",)),
            message(6, before=1, mentions=("ann",)),
            message(7, before=1, mentions=("ann",), expires_ms=NOW_MS),
        ]
    )
    await log.recall(CHAT, 6)
    (ann,), (cid,) = await log.unread(span()), await log.unread(span(), user="cid")
    assert ann.mentions == (Mention(1), Mention(3), Mention(5, ACT))
    assert [each.seq for each in cid.mentions] == [1, 2, 3, 4]


async def test_the_oldest_are_looked_at_and_it_is_said_how_far(log: Log) -> None:
    changes = [message(seq, kind=CHANGE, before=seq - 3, act=ACT) for seq in (3, 4)]
    await log.repository.messages.insert([message(1), message(2), *changes, message(5, before=2)])
    assert await log.unread(span(limit=2), span(limit=3), span(1, limit=3)) == [
        UnreadCount(2, (), 0, 2, 2),
        UnreadCount(2, (), 0, 3, 2),
        UnreadCount(1, (), 0, 4, 2),
    ]


async def test_not_more_mentions_are_told_than_are_asked_for(log: Log) -> None:
    await log.repository.messages.insert([message(seq, mentions=("ann",)) for seq in range(1, MENTIONS_MAX + 3)])
    (found,) = await log.unread(span(limit=1000))
    assert (found.unread, len(found.mentions), found.mentions[-1].seq) == (MENTIONS_MAX + 2, MENTIONS_MAX, MENTIONS_MAX)


async def test_more_spans_than_fit_into_one_command_come_in_order(log: Log) -> None:
    names = [f"d:ann|user{number}" for number in range(120)]
    await log.repository.messages.insert([message(1, conversation=name) for name in names[::2]])
    # So many are hidden that they take several commands.
    hidden = frozenset(range(1000, 2000))
    spans = [span(conversation=name)._replace(hidden=hidden) for name in names]
    assert [found.unread for found in await log.unread(*spans)] == [1, 0] * 60
