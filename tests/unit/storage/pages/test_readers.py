"""Readers: whose position is at or beyond a message."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.pages.readers import ReadersReader
from tests.unit.storage.nodes import World, change, changed, create, post, send, stored
from tidings_protocol.errors import Forbidden, NotFound, TidingsError

USERS = ("ann", "bob", "cid", "dan", "eve")


async def readers(node: Storage, user: str, conversation: str, seq: int, **rest: object) -> pb.ReadersOutcome:
    reader: ReadersReader = node.readers
    item = pb.ReadersItem(conversation=conversation, user=user, seq=seq, **rest)  # type: ignore[arg-type]
    [outcome] = await reader.readers([item])
    if isinstance(outcome, TidingsError):
        raise outcome
    return outcome


async def marks(node: Storage, read: dict[str, int], delivered: dict[str, int]) -> None:
    await node.cursors.mark(
        [pb.MarkItem(conversation="g:1", user=user, read_seq=seq) for user, seq in read.items()]
        + [pb.MarkItem(conversation="g:1", user=user, delivered_seq=seq) for user, seq in delivered.items()]
    )


async def test_readers_come_by_user_id_without_the_sender_in_pages() -> None:
    async with World().node() as node:
        made = await changed(node, create("g:1", *USERS))
        await stored(node, *(post("g:1", "ann", f"m{n}", made.record.version, USERS) for n in range(2)))
        await marks(node, {"eve": 2, "bob": 3, "cid": 1}, {"dan": 2, "cid": 3})
        page = await readers(node, "ann", "g:1", 2)
        assert (list(page.users), page.count, page.more) == (["bob", "eve"], 2, False)
        assert list((await readers(node, "bob", "g:1", 3)).users) == ["bob"]
        page = await readers(node, "ann", "g:1", 2, delivered=True, limit=3)
        assert (list(page.users), page.count, page.more) == (["bob", "cid", "dan"], 4, True)
        page = await readers(node, "ann", "g:1", 2, delivered=True, limit=3, after="dan")
        assert (list(page.users), page.count, page.more) == (["eve"], 4, False)


async def test_who_joined_after_a_message_has_not_read_it() -> None:
    async with World().node() as node:
        made = await changed(node, create("g:1", "ann", "bob"))
        await stored(node, post("g:1", "ann", "m", made.record.version, ("ann", "bob")))
        await marks(node, {"bob": 2}, {})
        await changed(node, change("g:1", "cid", "join", 1, joins=["cid"], notices=[("ann", "bob", "cid")]))
        assert list((await readers(node, "ann", "g:1", 2)).users) == ["bob"]
        with pytest.raises(NotFound):
            await readers(node, "cid", "g:1", 2)
        assert list((await readers(node, "ann", "g:1", 3)).users) == []


async def test_a_direct_chat_has_the_other_one() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "x"))
        assert (await readers(node, "ann", "d:ann|bob", 1)).count == 0
        await node.cursors.mark([pb.MarkItem(conversation="d:ann|bob", user="bob", read_seq=1)])
        assert list((await readers(node, "ann", "d:ann|bob", 1)).users) == ["bob"]


@pytest.mark.parametrize(
    ("user", "conversation", "seq", "refusal"),
    [
        ("eve", "g:1", 1, Forbidden),
        ("ann", "g:large", 1, Forbidden),
        ("ann", "b:all", 1, Forbidden),
        ("eve", "d:ann|bob", 1, Forbidden),
        ("ann", "g:none", 1, NotFound),
        ("ann", "g:1", 2, NotFound),
        ("ann", "g:1", 0, NotFound),
        ("ann", "d:ann|zoe", 1, NotFound),
    ],
)
async def test_what_is_refused(user: str, conversation: str, seq: int, refusal: type[TidingsError]) -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        await changed(node, create("g:large", "ann", "bob", large=True))
        with pytest.raises(refusal):
            await readers(node, user, conversation, seq)
