"""CHANGEs that were stored by a node which got no further are folded by the next one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.storage.folding.fold import mentioned_in
from services.storage.folding.shown import folded_state
from services.storage.folding.writer import FoldWriter
from services.storage.loading import refolding
from services.storage.loading.documents import cached_from
from services.storage.loading.refolding import Refolding
from services.storage.memory.conversation import CachedConversation
from services.storage.repository.memory import Database
from services.storage.repository.records import ConversationDocument, StoredMessage
from tests.unit.storage.folding.documents import CHAT, content, edit, message, pin, recall


async def refolded(database: Database, tail: Sequence[StoredMessage]) -> CachedConversation:
    repository = database.repository()
    document = (await repository.conversations.load([CHAT]))[CHAT]
    conversation = cached_from(CHAT, document, ())
    bare = [each._replace(content=b"", former=b"") for each in tail]
    await Refolding(repository, FoldWriter(repository)).run([conversation], {CHAT: bare})
    return conversation


async def stored(*entries: StoredMessage) -> Database:
    database = Database()
    repository = database.repository()
    await repository.conversations.create([ConversationDocument(CHAT, 1)])
    await repository.messages.insert(entries)
    return database


async def test_all_changes_of_a_tail_are_folded_in_their_order() -> None:
    changes = [edit(3), edit(4, "best", mentions=("bob",)), pin(5), edit(6, target=2), recall(7, target=2)]
    database = await stored(message(1), message(2), *changes)
    conversation = await refolded(database, changes)
    entries = database.messages[CHAT]
    assert entries[1].content == content("best", mentions=["bob"])
    assert mentioned_in(entries[1]) == ("bob",)
    assert folded_state(entries[1]).state.pinned
    assert folded_state(entries[2]).state.recalled_by == "ann"
    assert [each.seq for each in entries.values() if each.content] == [1, 4]
    assert (conversation.document.pinned, conversation.document.pinned_at) == ((1,), 5)
    assert database.conversations[CHAT].pinned == (1,)


async def test_folding_again_does_no_harm() -> None:
    changes = [edit(2), pin(3), edit(4, "best")]
    database = await stored(message(1), *changes)
    await refolded(database, changes)
    before = dict(database.messages[CHAT])
    conversation = await refolded(database, changes)
    assert database.messages[CHAT] == before
    assert conversation.document.pinned == (1,)


async def test_what_was_folded_and_not_erased_is_erased() -> None:
    changes = [edit(2), edit(3, "best")]
    database = await stored(message(1), *changes)
    await refolded(database, changes)
    database.messages[CHAT][2] = changes[0]
    await refolded(database, changes)
    assert database.messages[CHAT][2].content == b""


async def test_what_retention_has_taken_is_passed_over() -> None:
    database = await stored(edit(2), pin(3))
    await refolded(database, [edit(2), pin(3), edit(4)])
    assert sorted(database.messages[CHAT]) == [2, 3]


async def test_long_tails_are_folded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refolding, "PART", 2)
    changes = [edit(seq, f"text {seq}") for seq in range(2, 8)]
    database = await stored(message(1), *changes)
    await refolded(database, changes)
    entries = database.messages[CHAT]
    assert entries[1].content == content("text 7")
    assert [each.seq for each in entries.values() if each.content] == [1, 7]
