"""Pages of the inbox."""

from __future__ import annotations

from tests.unit.logic.harness import logic, talk
from tidings_protocol import client_pb2

History = client_pb2.History


async def test_a_page_of_the_inbox_holds_what_comes_after_the_cursor() -> None:
    async with logic() as node:
        await talk(node, "d:amy|bob", "amy", 5)
        page = (await node.ask("bob", sync=client_pb2.Sync(after=2, limit=2))).page
        assert [(entry.number, entry.message.content.text) for entry in page.entries] == [(3, "3"), (4, "4")]
        assert (page.next, page.head, page.more) == (4, 5, True)


async def test_an_empty_page_goes_on_where_it_was_asked() -> None:
    async with logic() as node:
        page = (await node.ask("bob", sync=client_pb2.Sync(after=7))).page
        assert (page.next, page.head, page.more, len(page.entries)) == (7, 0, False, 0)


async def test_many_who_sync_at_once_are_few_calls() -> None:
    async with logic() as node:
        asks = [(f"user{number}", "", {"sync": client_pb2.Sync()}) for number in range(500)]
        replies = await node.ask_all(*asks)
        assert all(reply.HasField("page") for reply in replies)
        assert node.storage.calls == [("Inbox", 128), ("Inbox", 128), ("Inbox", 128), ("Inbox", 116)]


async def test_limits_are_defaulted_and_cut() -> None:
    async with logic() as node:
        await talk(node, "d:amy|bob", "amy", 600)
        for limit, found in ((0, 100), (1, 1), (10_000, 500)):
            assert len((await node.ask("bob", sync=client_pb2.Sync(limit=limit))).page.entries) == found
        for limit, found in ((0, 50), (10_000, 200)):
            history = History(conversation="d:amy|bob", limit=limit)
            assert len((await node.ask("bob", history=history)).page.entries) == found
