"""What every repository promises of changes of messages: what they have become, what is erased, what is pinned."""

from __future__ import annotations

import asyncio

from services.storage.repository.contract import Inserted, Repository
from services.storage.repository.records import (
    CHANGE,
    ConversationDocument,
    Erasure,
    Fold,
    PinList,
    Span,
    StoredMessage,
    Watermark,
    reactions_left_out,
)
from tidings_protocol import client_pb2

CHAT, OTHER = "d:ann|bob", "d:ann|cleopatra"
Change = client_pb2.Change


def message(seq: int, conversation: str = CHAT, **fields: object) -> StoredMessage:
    plain = StoredMessage(conversation, seq, "ann", f"c{seq}", 1000 + seq, b"hello %d" % seq)
    return plain._replace(**fields)  # type: ignore[arg-type]


def change(seq: int, act: client_pb2.Change, conversation: str = CHAT, **fields: object) -> StoredMessage:
    return message(seq, conversation, kind=CHANGE, act=act.SerializeToString(), **fields)


def edit(seq: int, target: int = 1, conversation: str = CHAT, **fields: object) -> StoredMessage:
    return change(seq, Change(seq=target, edit=client_pb2.Content()), conversation, **fields)


async def entry(repository: Repository, seq: int, conversation: str = CHAT) -> StoredMessage:
    return (await repository.messages.get([(conversation, seq)]))[conversation, seq]


async def test_what_is_special_about_an_entry_is_there_as_it_was(repository: Repository) -> None:
    stream = message(1, state=b"streaming", parts=0, expires_ms=77, mentions=("bob", "cid"))
    edited = edit(2, before=1, former=b"what was", mentions=("dan",))
    assert await repository.messages.insert([stream, edited]) == Inserted(2)
    assert await repository.messages.get([(CHAT, 1), (CHAT, 2)]) == {(CHAT, 1): stream, (CHAT, 2): edited}
    [page] = await repository.messages.pages([Span(CHAT)], content=False)
    assert page == [stream._replace(content=b""), edited._replace(content=b"", former=b"")]


async def test_a_fold_writes_what_an_entry_has_become(repository: Repository) -> None:
    first = message(1, mentions=("bob", "cid"), parts=3, state=b"streaming")
    await repository.messages.insert([first, message(2), message(1, OTHER)])
    await repository.messages.fold([Fold(CHAT, 1, 5, b"state", b"new", ("cid",), ends=True), Fold(CHAT, 2, 6, b"s")])
    assert await entry(repository, 1) == first._replace(state=b"state", content=b"new", mentions=("cid",), parts=None)
    assert await entry(repository, 2) == message(2, state=b"s")
    assert await entry(repository, 1, OTHER) == message(1, OTHER)


async def test_a_fold_leaves_content_and_stream_alone_if_it_says_so(repository: Repository) -> None:
    stream = message(1, mentions=("bob",), parts=3, state=b"streaming")
    await repository.messages.insert([stream])
    await repository.messages.fold([Fold(CHAT, 1, 5, b"pinned", None, ("bob",))])
    assert await entry(repository, 1) == stream._replace(state=b"pinned")
    await repository.messages.fold([Fold(CHAT, 1, 6, b"gone", b"")])
    assert await entry(repository, 1) == stream._replace(state=b"gone", content=b"", mentions=())


async def test_a_fold_does_nothing_where_a_later_one_was(repository: Repository) -> None:
    await repository.messages.insert([message(1)])
    late, early = Fold(CHAT, 1, 7, b"late", b"late"), Fold(CHAT, 1, 6, b"early", b"early", ("bob",))
    await asyncio.gather(repository.messages.fold([late]), repository.messages.fold([late]))
    await repository.messages.fold([early, late, Fold(CHAT, 1, 7, b"same", b"same")])
    assert await entry(repository, 1) == message(1, state=b"late", content=b"late")


async def test_a_fold_passes_over_what_is_not_there(repository: Repository) -> None:
    await repository.messages.fold([Fold(CHAT, 1, 7, b"late", b"late")])
    await repository.messages.fold([])
    assert await repository.messages.get([(CHAT, 1)]) == {}


async def test_changes_before_the_newest_lose_their_content_and_who_is_mentioned_no_more(
    repository: Repository,
) -> None:
    entries = [
        message(1, mentions=("bob",)),
        edit(2, mentions=("bob", "cid")),
        edit(3, target=9),
        edit(4, mentions=("cid", "dan")),
        edit(5, mentions=("eve",)),
    ]
    await repository.messages.insert([*entries, edit(2, conversation=OTHER)])
    erasure = Erasure(CHAT, 1, 5, contents=True, mentions=("cid", "eve"))
    for _ in range(2):
        await repository.messages.erase([erasure])
        [page] = await repository.messages.pages([Span(CHAT)])
        assert page == [
            entries[0],
            entries[1]._replace(content=b"", mentions=("cid",)),
            entries[2],
            entries[3]._replace(content=b"", mentions=("cid",)),
            entries[4],
        ]
    assert await entry(repository, 2, OTHER) == edit(2, conversation=OTHER)


async def test_only_changes_from_where_it_is_said_lose_something(repository: Repository) -> None:
    await repository.messages.insert([message(1), edit(2), edit(3), edit(4)])
    await repository.messages.erase([Erasure(CHAT, 1, 4, contents=True, since=3)])
    [page] = await repository.messages.pages([Span(CHAT)])
    assert [bool(each.content) for each in page] == [True, True, False, True]


async def test_contents_stay_where_the_history_is_kept(repository: Repository) -> None:
    await repository.messages.insert([message(1), edit(2, mentions=("bob",), former=b"first"), edit(3)])
    await repository.messages.erase([Erasure(CHAT, 1, 3, contents=False)])
    assert await entry(repository, 2) == edit(2, former=b"first")


async def test_of_what_is_recalled_changes_say_nothing_any_more(repository: Repository) -> None:
    added = Change.Reacted(added=[Change.Reacted.One(user="bob", reaction="+1")])
    entries = [
        message(1),
        edit(2, mentions=("bob",), former=b"first"),
        change(3, Change(seq=1, reacted=added), state=b"the reactions", content=b""),
        change(4, Change(seq=1, pin=True), content=b""),
        change(5, Change(seq=1, recall=Change.Recall()), content=b""),
        edit(6, target=2),
    ]
    await repository.messages.insert(entries)
    for _ in range(2):
        await repository.messages.erase([Erasure(CHAT, 1, 6, contents=True, everything=True)])
        [page] = await repository.messages.pages([Span(CHAT)])
        assert page == [
            entries[0],
            entries[1]._replace(content=b"", mentions=(), former=b""),
            entries[2]._replace(act=reactions_left_out(1), state=b""),
            *entries[3:],
        ]


async def test_many_folds_and_erasures_are_done_together(repository: Repository) -> None:
    await repository.messages.insert([message(seq, each) for each in (CHAT, OTHER) for seq in range(1, 21)])
    await repository.messages.insert([edit(seq + 20, seq, each) for each in (CHAT, OTHER) for seq in range(1, 21)])
    folds = [Fold(each, seq, seq + 20, b"s", b"new") for each in (CHAT, OTHER) for seq in range(1, 21)]
    await repository.messages.fold(folds)
    await repository.messages.erase([Erasure(CHAT, seq, 41, contents=True) for seq in range(1, 21)])
    await repository.messages.erase([])
    here, there = await repository.messages.pages([Span(CHAT), Span(OTHER)])
    assert [each.content for each in here] == [b"new"] * 20 + [b""] * 20
    assert [each.content for each in there[:20]] == [b"new"] * 20
    assert all(each.content for each in there[20:])


async def test_what_is_removed_by_retention_takes_no_fold_along(repository: Repository) -> None:
    await repository.messages.insert([message(1), edit(2)])
    assert await repository.messages.remove(CHAT, 3) == 2
    await repository.messages.fold([Fold(CHAT, 1, 2, b"s", b"new")])
    assert await repository.messages.pages([Span(CHAT)]) == [[]]


async def test_a_list_of_pins_is_written_where_an_earlier_one_is(repository: Repository) -> None:
    await repository.conversations.create([ConversationDocument(CHAT, 1), ConversationDocument(OTHER, 1)])
    await repository.conversations.pin([PinList(CHAT, (3, 1), 7), PinList("d:no|one", (1,), 2)])
    await repository.conversations.pin([PinList(CHAT, (), 6), PinList(CHAT, (9,), 7), PinList(OTHER, (1,), 2)])
    await repository.conversations.pin([])
    found = await repository.conversations.load([CHAT, OTHER, "d:no|one"])
    assert {key: (each.pinned, each.pinned_at) for key, each in found.items()} == {CHAT: ((3, 1), 7), OTHER: ((1,), 2)}


async def test_a_change_of_the_group_leaves_pins_and_watermarks_alone(repository: Repository) -> None:
    group = ConversationDocument("g:1", 2, version=1, stamp=1)
    assert await repository.conversations.swap(group, 0)
    await repository.conversations.pin([PinList("g:1", (3,), 7)])
    await repository.conversations.advance([Watermark("g:1", head=9, settled=9, changes=4, shown=8)])
    assert await repository.conversations.swap(ConversationDocument("g:1", 2, version=2, stamp=2), 1)
    found = (await repository.conversations.load(["g:1"]))["g:1"]
    assert (found.version, found.pinned, found.pinned_at) == (2, (3,), 7)
    assert (found.head, found.changes, found.shown) == (9, 4, 8)
