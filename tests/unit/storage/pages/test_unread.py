"""What is unread in the conversations of a list."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.pages import unread
from services.storage.pages.unread import LOOK_MAX, MENTIONS_TOLD, TOTAL_MAX, UnreadReader, shares
from services.storage.repository.memory import Database
from services.storage.repository.records import CHANGE, EVERYBODY, HiddenSeqs, StoredMessage
from tests.unit.storage.changed import CHAT, acted, edited, said, state

NOW_MS = 5000


async def count(
    log: Sequence[StoredMessage], *, read: int = 0, hidden: HiddenSeqs | None = None, user: str = "bob", **fields: Any
) -> pb.ConversationEntry:
    """The user's entry of the list, of a conversation with this log. `fields`: of the record, and when they joined."""
    repository = Database().repository()
    await repository.messages.insert(log)
    joined_seq = fields.pop("joined_seq", 1)
    changes = sum(each.kind == CHANGE for each in log)
    head = log[-1].seq
    record = pb.ConversationRecord(conversation=CHAT, head=head, ordinal=head - changes, **fields)
    entry = pb.ConversationEntry(record=record, me=pb.MemberRecord(user=user, read_seq=read, joined_seq=joined_seq))
    await UnreadReader(repository).fill(user, [entry], {CHAT: hidden} if hidden else {}, NOW_MS)
    return entry


def talk(length: int, *changes: int, mine: Sequence[int] = (), **fields: Any) -> list[StoredMessage]:
    """So many entries, of which these are CHANGEs of the first one, and these bob's."""
    log: list[StoredMessage] = []
    for seq in range(1, length + 1):
        before, sender = sum(each < seq for each in changes), "bob" if seq in mine else "ann"
        entry = acted(seq, 1, before=before, pin=True) if seq in changes else said(seq, before=before, **fields)
        log.append(entry._replace(sender=sender))
    return log


async def test_what_others_said_after_the_read_position_is_unread() -> None:
    entry = await count(talk(6, mine=(4,)), read=2)
    assert (entry.unread, entry.read_ordinal, entry.unread_mentions, entry.first_mention_seq) == (3, 2, 0, 0)
    assert (await count(talk(6), read=6)).unread == 0
    nobody = await count(talk(6), read=9)
    assert (nobody.unread, nobody.read_ordinal) == (0, 6), "a position beyond the head that is known here"


async def test_changes_are_not_unread_and_have_no_ordinal() -> None:
    for read, unread_, ordinal in ((1, 2, 1), (2, 2, 1), (3, 1, 2), (4, 1, 2), (5, 0, 3), (6, 0, 3), (7, 0, 3)):
        entry = await count(talk(7, 2, 4, 6, 7), read=read)
        assert (entry.unread, entry.read_ordinal) == (unread_, ordinal), read


async def test_what_retention_removed_or_was_before_ones_joining_is_not_unread() -> None:
    entry = await count(talk(7, 2, 5)[3:], first_seq=4)
    assert (entry.unread, entry.read_ordinal) == (3, 2)
    entry = await count(talk(7, 2, 5), joined_seq=4)
    assert (entry.unread, entry.read_ordinal) == (3, 0)


async def test_what_is_hidden_is_not_unread_and_does_not_move_the_ordinal() -> None:
    log = talk(8, 3, 6)
    entry = await count(log, read=1, hidden=HiddenSeqs(0, frozenset({2, 8})))
    assert (entry.unread, entry.read_ordinal) == (3, 1)
    entry = await count(log, read=3, hidden=HiddenSeqs(5, frozenset({7})))
    assert (entry.unread, entry.read_ordinal) == (1, 2)
    entry = await count(log, read=3, hidden=HiddenSeqs(8))
    assert (entry.unread, entry.read_ordinal) == (0, 2)
    entry = await count(log[:5], read=3, hidden=HiddenSeqs(0, frozenset({4, 5})))
    assert (entry.unread, entry.read_ordinal) == (0, 2)


async def test_mentions_are_counted_and_the_oldest_is_named() -> None:
    log = [
        said(1, mentions=("bob",)),
        said(2, mentions=("cid",)),
        said(3, mentions=(EVERYBODY,)),
        said(4, mentions=("bob",), sender="bob"),
        said(5, mentions=("bob",)),
    ]
    entry = await count(log, read=1)
    assert (entry.unread, entry.unread_mentions, entry.first_mention_seq) == (3, 2, 3)
    entry = await count(log, read=1, hidden=HiddenSeqs(0, frozenset({3})))
    assert (entry.unread_mentions, entry.first_mention_seq) == (1, 5)
    many = talk(MENTIONS_TOLD + 50, mentions=("bob",))
    assert (await count(many)).unread_mentions == MENTIONS_TOLD


async def test_an_edit_mentions_at_its_own_seq_as_long_as_its_target_is_shown() -> None:
    edit = edited(3, 1, "you", mentions=("bob",))
    shown = said(1, "you", state=state(3, revision=3))
    entry = await count([shown, said(2), edit], read=2)
    assert (entry.unread, entry.unread_mentions, entry.first_mention_seq) == (0, 1, 3)
    for target, fields in (
        (shown._replace(state=state(revision=4, recalled_by="ann")), {}),
        (shown._replace(expires_ms=NOW_MS), {}),
        (shown, {"hidden": HiddenSeqs(0, frozenset({1}))}),
        (shown, {"hidden": HiddenSeqs(1)}),
        (shown, {"joined_seq": 2}),
    ):
        assert (await count([target, said(2), edit], read=2, **fields)).unread_mentions == 0
    assert (await count([said(2), edit], read=2)).unread_mentions == 0, "it is gone by retention"


async def test_beyond_what_is_looked_at_everything_counts_that_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "LOOK_MAX", 5)
    log = talk(20, 3, 12, 13, mine=(2, 4, 15), mentions=("bob",))
    # Of 1 to 5: 1 and 5 are others' messages. Of the rest, 15 entries less two CHANGEs.
    entry = await count(log)
    assert (entry.unread, entry.read_ordinal, entry.unread_mentions) == (2 + 13, 0, 2)
    hidden = HiddenSeqs(0, frozenset({5, 7, 20}))
    assert (await count(log, hidden=hidden)).unread == 1 + 11
    assert (await count(log, read=15)).unread == 5, "as long as all are looked at, it is exact"


async def test_of_a_page_of_many_conversations_all_are_filled_in_with_few_reads() -> None:
    database = Database()
    repository = database.repository()
    entries = []
    for number in range(20):
        chat = f"d:bob|user{number}"
        log = [
            said(1, conversation=chat),
            acted(2, 1, conversation=chat, pin=True),
            said(3, conversation=chat, before=1),
        ]
        await repository.messages.insert(log)
        record = pb.ConversationRecord(conversation=chat, head=3, ordinal=2)
        entries.append(pb.ConversationEntry(record=record, me=pb.MemberRecord(user="bob", read_seq=number % 4)))
    before = database.faults.commands
    await UnreadReader(repository).fill("bob", entries, {}, NOW_MS)
    assert database.faults.commands - before == 1
    assert [(each.unread, each.read_ordinal) for each in entries[:4]] == [(2, 0), (1, 1), (1, 1), (0, 2)]


@given(st.lists(st.integers(1, 3 * LOOK_MAX), max_size=300))
def test_all_conversations_share_what_is_looked_at(lengths: list[int]) -> None:
    limits = shares(lengths)
    assert all(0 < limit <= min(length, LOOK_MAX) for limit, length in zip(limits, lengths, strict=True))
    assert sum(limits) <= TOTAL_MAX + len(lengths)
    # Nobody gives way who has less than another one gets.
    for limit, length in zip(limits, lengths, strict=True):
        if limit < min(length, LOOK_MAX):
            assert limit >= max(limits) - 1


@given(st.data())
def test_whatever_is_read_and_hidden_it_is_what_one_counts_by_hand(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 12))
    changes = data.draw(st.sets(st.integers(2, length), max_size=6)) if length > 1 else set()
    mine = data.draw(st.sets(st.integers(1, length), max_size=4))
    read = data.draw(st.integers(0, length))
    through = data.draw(st.integers(0, length))
    single = data.draw(st.sets(st.integers(1, length), max_size=4)) - changes
    hidden = HiddenSeqs(through, frozenset(seq for seq in single if seq > through))
    entry = asyncio.run(count(talk(length, *changes, mine=tuple(mine)), read=read, hidden=hidden))
    messages = [seq for seq in range(1, length + 1) if seq not in changes]
    assert entry.unread == sum(seq > read and seq not in mine and not hidden.hides(seq) for seq in messages)
    assert entry.read_ordinal == sum(seq <= read for seq in messages)
