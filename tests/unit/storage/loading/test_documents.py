"""The documents of conversations: in which order they are written, and what is done once more when they are read."""

from __future__ import annotations

import pytest

from services.storage.loading.documents import ConversationDocuments, cached_from
from services.storage.repository.contract import Repository
from services.storage.repository.memory import Database
from services.storage.repository.records import ConversationDocument, MemberDocument
from tests.unit.storage.nodes import World, change, create
from tidings_protocol.errors import Unavailable

CHAT, GROUP = "d:ann|bob", "g:1"


def on(world: World) -> tuple[ConversationDocuments, Repository, Database]:
    repository = world.database.repository()
    return ConversationDocuments(repository, world.clock), repository, world.database


async def test_a_chat_has_its_members_before_its_document() -> None:
    documents, _, database = on(World())
    chat = cached_from(CHAT, None, ())
    assert sorted(chat.members) == ["ann", "bob"]

    async def refuse(command: str) -> None:
        if command == "conversations.create":
            raise Unavailable("away")

    database.faults.delay = refuse
    with pytest.raises(Unavailable):
        await documents.create([chat])
    assert sorted(database.members[CHAT]) == ["ann", "bob"]
    assert not database.conversations
    database.faults.delay = None
    await documents.create([chat])
    assert chat.exists
    assert database.conversations[CHAT].member_count == 2


async def test_of_two_writers_of_a_group_the_second_changes_nothing() -> None:
    documents, _, database = on(World())
    one, other = (cached_from(GROUP, None, ()) for _ in range(2))
    assert await documents.apply(one, create(GROUP, "ann", "bob"), notice_seq=1, time_ms=5)
    assert not await documents.apply(other, create(GROUP, "zoe"), notice_seq=1, time_ms=5)
    assert sorted(database.members[GROUP]) == ["ann", "bob"]
    assert (one.exists, other.exists) == (True, False)
    again = await documents.reread(other)
    assert (again.document.version, sorted(again.members)) == (1, ["ann", "bob"])


async def test_members_that_were_not_written_are_written_when_the_document_is_read() -> None:
    documents, _, database = on(World())
    group = cached_from(GROUP, None, ())
    await documents.apply(group, create(GROUP, "ann", "bob"), notice_seq=1, time_ms=5)
    database.members[GROUP].clear()
    found = await documents.read([GROUP, "g:none"])
    assert list(found) == [GROUP]
    assert sorted(user for user, member in database.members[GROUP].items() if not member.gone) == ["ann", "bob"]


async def test_members_of_a_large_group_are_looked_up_and_kept() -> None:
    documents, repository, database = on(World())
    group = cached_from(GROUP, ConversationDocument(GROUP, 2, large_from=1, version=1, stamp=1), ())
    await repository.members.write([MemberDocument(GROUP, "bob", large=True)])
    assert list(await documents.lookup(group, ["bob", "zoe"])) == ["bob"]
    before = database.faults.commands
    assert list(await documents.lookup(group, ["bob"])) == ["bob"]
    assert database.faults.commands == before


async def test_who_is_removed_is_not_in_memory_any_more() -> None:
    documents, _, _ = on(World())
    group = cached_from(GROUP, None, ())
    await documents.apply(group, create(GROUP, "ann", "bob"), notice_seq=1, time_ms=5)
    group.head = 1
    group.move("bob", 1, 1)
    await documents.apply(group, change(GROUP, "ann", "op", 1, removed=["bob"]), notice_seq=2, time_ms=6)
    assert (list(group.members), list(group.moved)) == (["ann"], [])
