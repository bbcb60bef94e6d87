"""What every repository promises of messages whose text grows."""

from __future__ import annotations

from dataclasses import replace

from services.storage.repository.contract import Repository
from services.storage.repository.records import ConversationDocument, Fold, StoredMessage, StreamText

CHAT, OTHER = "d:ann|bob", "d:ann|cleo"


def begun(seq: int) -> StoredMessage:
    return StoredMessage(CHAT, seq, "ann", f"c{seq}", 1000, b"", state=b"open", parts=0)


async def test_a_text_takes_the_place_of_one_with_fewer_parts(repository: Repository) -> None:
    await repository.messages.insert([begun(1), begun(2)])
    await repository.streams.write(
        [StreamText(CHAT, 1, 2, b"ab"), StreamText(CHAT, 2, 1, b"a"), StreamText(CHAT, 3, 1, b"x")]
    )
    await repository.streams.write(
        [StreamText(CHAT, 1, 1, b"late"), StreamText(CHAT, 1, 2, b"other"), StreamText(CHAT, 2, 3, b"abc")]
    )
    assert await repository.messages.get([(CHAT, 1), (CHAT, 2), (CHAT, 3)]) == {
        (CHAT, 1): begun(1)._replace(content=b"ab", parts=2),
        (CHAT, 2): begun(2)._replace(content=b"abc", parts=3),
    }


async def test_a_text_that_comes_after_the_end_stays_out(repository: Repository) -> None:
    plain = StoredMessage(CHAT, 2, "ann", "c2", 1000, b"hello")
    await repository.messages.insert([begun(1), plain])
    await repository.messages.fold([Fold(CHAT, 1, 7, b"ended", b"whole", ends=True)])
    await repository.streams.write([StreamText(CHAT, 1, 9, b"late"), StreamText(CHAT, 2, 9, b"no stream")])
    assert await repository.messages.get([(CHAT, 1), (CHAT, 2)]) == {
        (CHAT, 1): begun(1)._replace(content=b"whole", state=b"ended", parts=None),
        (CHAT, 2): plain,
    }


async def test_a_text_and_a_fold_leave_each_other_as_they_are(repository: Repository) -> None:
    await repository.messages.insert([begun(1)])
    await repository.streams.write([StreamText(CHAT, 1, 2, b"ab")])
    await repository.messages.fold([Fold(CHAT, 1, 7, b"pinned")])
    await repository.streams.write([StreamText(CHAT, 1, 3, b"abc")])
    (found,) = (await repository.messages.get([(CHAT, 1)])).values()
    assert found == begun(1)._replace(content=b"abc", parts=3, state=b"pinned")


async def test_conversations_name_what_is_open(repository: Repository) -> None:
    document = ConversationDocument(CHAT, 1)
    await repository.conversations.create([document, replace(document, conversation=OTHER)])
    await repository.streams.name([(CHAT, 1), (CHAT, 7), (OTHER, 2), ("d:no|one", 1)])
    await repository.streams.name([(CHAT, 7)])
    found = await repository.conversations.load([CHAT, OTHER, "d:no|one"])
    assert {key: each.streams for key, each in found.items()} == {CHAT: (1, 7), OTHER: (2,)}
    assert await repository.streams.named("", 10) == [(CHAT, (1, 7)), (OTHER, (2,))]
    assert await repository.streams.named("", 1) == [(CHAT, (1, 7))]
    assert await repository.streams.named(CHAT, 10) == [(OTHER, (2,))]


async def test_what_has_ended_is_named_no_more(repository: Repository) -> None:
    document = ConversationDocument(CHAT, 1)
    await repository.conversations.create([document])
    await repository.streams.name([(CHAT, 1), (CHAT, 7)])
    await repository.streams.unname([(CHAT, 1), (OTHER, 1)])
    assert (await repository.conversations.load([CHAT]))[CHAT].streams == (7,)
    await repository.streams.unname([(CHAT, 7)])
    await repository.streams.unname([(CHAT, 7)])
    assert (await repository.conversations.load([CHAT]))[CHAT] == document
    assert await repository.streams.named("", 10) == []


async def test_a_change_of_a_group_leaves_the_names_as_they_are(repository: Repository) -> None:
    document = ConversationDocument("g:1", 2, version=1, stamp=1)
    assert await repository.conversations.swap(document, 0)
    await repository.streams.name([("g:1", 3)])
    assert await repository.conversations.swap(replace(document, version=2, stamp=2), 1)
    assert (await repository.conversations.load(["g:1"]))["g:1"].streams == (3,)


async def test_nothing_is_asked_with_nothing(repository: Repository) -> None:
    await repository.streams.name([])
    await repository.streams.unname([])
    await repository.streams.write([])
