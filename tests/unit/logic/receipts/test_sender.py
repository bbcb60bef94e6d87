"""Receipts go to those whom they concern."""

from __future__ import annotations

import asyncio

from protos.tidings.internal.v1 import delivery_pb2
from services.logic.receipts.coalescer import ReaderCursor
from tests.unit.logic.harness import Logic, logic
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable

RECEIPT = delivery_pb2.Push.RECEIPT


async def _told(node: Logic, count: int) -> dict[str, set[str]]:
    """Who is told of so many receipts, by conversation."""
    told: dict[str, set[str]] = {}
    async with asyncio.timeout(5):
        while len(told) < count:
            for push in node.pushes(RECEIPT):
                receipt = client_pb2.Receipt.FromString(push.body)
                told.setdefault(receipt.conversation, set()).update(push.users)
            await asyncio.sleep(0)
    return told


async def test_the_others_hear_of_it_but_in_large_groups_and_the_broadcast() -> None:
    async with logic() as node:
        small = node.storage.group("g:small", "amy", "bob", "eve").record
        node.storage.group("g:large", "amy", "bob", large_from=1)
        for conversation, version, large in (
            ("d:amy|bob", 0, False),
            ("g:small", small.version, False),
            ("g:large", 0, True),
            ("b:all", 0, False),
        ):
            node.receipts.note(ReaderCursor("amy", conversation, 2, 1, "s", version, large))
        assert await _told(node, 4) == {
            "d:amy|bob": {"amy", "bob"},
            "g:small": {"amy", "bob", "eve"},
            "g:large": {"amy"},
            "b:all": {"amy"},
        }


async def test_a_receipt_whose_readers_cannot_be_had_now_goes_later() -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy", "bob")
        node.storage.fail["Load"] = [Unavailable("away")]
        node.receipts.note(ReaderCursor("amy", "g:x", 2, 1))
        async with asyncio.timeout(5):
            while not node.storage.count("Load"):  # noqa: ASYNC110 - the storage is looked at from outside
                await asyncio.sleep(0)
        assert node.pushes(RECEIPT) == []
        assert node.receipts.pending == 1
    assert {user for push in node.pushes(RECEIPT) for user in push.users} == {"amy", "bob"}, "leaving sends what waits"
