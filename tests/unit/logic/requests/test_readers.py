"""`readers`, on a real storage node."""

from __future__ import annotations

import pytest

from tests.unit.logic.harness import Logic, message
from tests.unit.logic.on_storage import on_storage
from tidings_protocol import client_pb2

Create = client_pb2.GroupRequest.Create


async def group(node: Logic, *users: str) -> str:
    owner, *others = users
    request = client_pb2.GroupRequest(create=Create(name="x", members=others))
    return (await node.ask(owner, op="op", group=request)).group_info.conversation


async def readers(node: Logic, user: str, conversation: str, seq: int, **rest: object) -> client_pb2.ServerFrame:
    request = client_pb2.ReadersRequest(conversation=conversation, seq=seq, **rest)  # type: ignore[arg-type]
    return await node.ask(user, readers=request)


async def test_who_has_read_is_told_in_pages() -> None:
    async with on_storage() as node:
        there = await group(node, "ann", "bob", "cid", "dan")
        await node.send_rows(message("ann", there, "hello"))
        for user in ("dan", "bob"):
            await node.ask(user, read=client_pb2.Read(conversation=there, seq=2))
        page = (await readers(node, "ann", there, 2, limit=1)).reader_page
        assert (list(page.users), page.count, page.next, page.more) == (["bob"], 2, "bob", True)
        page = (await readers(node, "cid", there, 2, after=page.next)).reader_page
        assert (list(page.users), page.count, page.next, page.more) == (["dan"], 2, "dan", False)
        page = (await readers(node, "ann", there, 2, delivered=True)).reader_page
        assert list(page.users) == ["bob", "dan"]


@pytest.mark.parametrize(
    ("user", "conversation", "seq", "code"),
    [
        ("eve", "", 1, "FORBIDDEN"),
        ("ann", "", 9, "NOT_FOUND"),
        ("ann", "g:none", 1, "NOT_FOUND"),
        ("ann", "nonsense", 1, "BAD_REQUEST"),
        ("ann", "b:all", 1, "FORBIDDEN"),
        ("ann", "d:bob|cid", 1, "FORBIDDEN"),
    ],
)
async def test_what_is_refused(user: str, conversation: str, seq: int, code: str) -> None:
    async with on_storage() as node:
        there = await group(node, "ann", "bob")
        assert (await readers(node, user, conversation or there, seq)).error.code == code


async def test_nobody_is_told_in_a_large_group() -> None:
    async with on_storage() as node:
        there = await group(node, "ann", *(f"u{n}" for n in range(6)))
        assert (await readers(node, "ann", there, 1)).error.code == "FORBIDDEN"
