"""The newest message of a conversation, as it is shown to one who lists it."""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.pages.last import LOOK_MAX, LastMessages
from services.storage.repository.memory import Database
from services.storage.repository.records import CHANGE, HiddenSeqs, StoredMessage
from tests.unit.storage.changed import CHAT, acted, said, state

NOW_MS = 5000


async def last(
    log: Sequence[StoredMessage],
    *,
    hidden: HiddenSeqs | None = None,
    joined_seq: int = 1,
    first_seq: int = 0,
    shown: int | None = None,
) -> int:
    """The seq of it; 0: there is none."""
    repository = Database().repository()
    await repository.messages.insert(log)
    newest = max((each.seq for each in log if each.kind != CHANGE), default=0)
    record = pb.ConversationRecord(
        conversation=CHAT, head=log[-1].seq, shown=newest if shown is None else shown, first_seq=first_seq
    )
    entry = pb.ConversationEntry(record=record, me=pb.MemberRecord(user="bob", joined_seq=joined_seq))
    found = await LastMessages(repository).of([entry], {CHAT: hidden} if hidden else {}, NOW_MS, 100)
    return found[CHAT].seq if found else 0


def talk(length: int) -> list[StoredMessage]:
    return [said(seq) for seq in range(1, length + 1)]


async def test_it_is_no_change() -> None:
    log = [*talk(3), acted(4, 1, pin=True), acted(5, 1, before=1, pin=False)]
    assert await last(log) == 3
    assert await last(log, shown=0) == 3, "nobody knows where the newest is"
    assert await last(log[:3]) == 3
    assert await last([acted(4, 1, pin=True)]) == 0


async def test_it_is_not_hidden() -> None:
    log = [*talk(3), acted(4, 1, pin=True), said(5, before=1)]
    assert await last(log, hidden=HiddenSeqs(0, frozenset({5}))) == 3
    assert await last(log, hidden=HiddenSeqs(0, frozenset({2, 3, 5}))) == 1
    assert await last(log, hidden=HiddenSeqs(3, frozenset({5}))) == 0
    assert await last(log, hidden=HiddenSeqs(5)) == 0
    assert await last(log, hidden=HiddenSeqs(4)) == 5


async def test_it_is_not_expired_but_it_may_be_recalled() -> None:
    log = [*talk(3), said(4, expires_ms=NOW_MS), said(5, expires_ms=NOW_MS - 1)]
    assert await last(log) == 3
    assert await last([*log, said(6, state=state(revision=7, recalled_by="ann"))]) == 6


async def test_it_is_one_that_the_member_may_read() -> None:
    assert await last(talk(3), joined_seq=4) == 0
    assert await last(talk(3), joined_seq=3) == 3
    hidden = HiddenSeqs(0, frozenset({3}))
    assert await last(talk(3), joined_seq=3, hidden=hidden) == 0
    assert await last(talk(3)[1:], first_seq=2, hidden=hidden) == 2


async def test_it_is_looked_for_far_back_but_not_for_ever() -> None:
    for many, found in ((500, 1), (LOOK_MAX + 1000, 0)):
        seqs = range(2, many)
        assert await last(talk(many - 1), hidden=HiddenSeqs(0, frozenset(seqs))) == found


async def test_what_is_looked_for_comes_without_its_content() -> None:
    database = Database()
    repository = database.repository()
    await repository.messages.insert(talk(300))
    record = pb.ConversationRecord(conversation=CHAT, head=300, shown=300)
    entry = pb.ConversationEntry(record=record, me=pb.MemberRecord(user="bob", joined_seq=1))
    hidden = {CHAT: HiddenSeqs(0, frozenset(range(100, 301)))}
    found = await LastMessages(repository).of([entry], hidden, NOW_MS, 100)
    assert (found[CHAT].seq, found[CHAT].content, found[CHAT].left_out) == (99, b"", len(talk(1)[0].content))
    assert database.content_read == 0


async def test_of_many_conversations_all_are_looked_for_together() -> None:
    database = Database()
    repository = database.repository()
    entries, hidden = [], {}
    for number in range(20):
        chat = f"d:bob|user{number}"
        await repository.messages.insert([said(seq, conversation=chat) for seq in (1, 2)])
        record = pb.ConversationRecord(conversation=chat, head=2, shown=2)
        entries.append(pb.ConversationEntry(record=record, me=pb.MemberRecord(user="bob", joined_seq=1)))
        if number % 2:
            hidden[chat] = HiddenSeqs(0, frozenset({2}))
    before = database.faults.commands
    found = await LastMessages(repository).of(entries, hidden, NOW_MS, 100)
    assert [found[entry.record.conversation].seq for entry in entries] == [2, 1] * 10
    assert database.faults.commands - before == 2
