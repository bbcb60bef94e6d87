"""Pages of a conversation."""

from __future__ import annotations

from tests.unit.logic.harness import logic, talk
from tidings_protocol import client_pb2

History = client_pb2.History
Request = client_pb2.GroupRequest


async def test_changes_are_left_out_unless_they_are_asked_for() -> None:
    async with logic() as node:
        await talk(node, "d:amy|bob", "amy", 3)
        node.storage.conversations["d:amy|bob"].messages[1].kind = client_pb2.Message.CHANGE
        for changes, seqs in ((False, [1, 3]), (True, [1, 2, 3])):
            page = (await node.ask("bob", history=History(conversation="d:amy|bob", changes=changes))).page
            assert [entry.message.seq for entry in page.entries] == seqs


async def test_history_is_for_those_who_may_read_it() -> None:
    async with logic() as node:
        await talk(node, "d:amy|bob", "amy", 3)
        node.storage.group("g:x", "amy")
        asks = [
            ("bob", "", {"history": History(conversation="d:amy|bob")}),
            ("eve", "", {"history": History(conversation="d:amy|bob")}),
            ("eve", "", {"history": History(conversation="g:x")}),
            ("amy", "", {"history": History(conversation="g:x")}),
            ("amy", "", {"history": History(conversation="g:none")}),
            ("amy", "", {"history": History(conversation="d:bob|amy")}),
            ("amy", "", {"history": History(conversation="d:amy|bob", before=2, after=1)}),
            ("eve", "", {"history": History(conversation="b:all")}),
        ]
        replies = await node.ask_all(*asks)
        assert [reply.error.code for reply in replies] == [
            "",
            "FORBIDDEN",
            "FORBIDDEN",
            "",
            "NOT_FOUND",
            "BAD_REQUEST",
            "BAD_REQUEST",
            "",
        ]
        assert [entry.message.seq for entry in replies[0].page.entries] == [1, 2, 3]
        assert node.storage.count("Load") == 1


async def test_history_goes_in_the_direction_asked() -> None:
    async with logic() as node:
        await talk(node, "d:amy|bob", "amy", 5)

        async def seqs(history: client_pb2.History) -> list[int]:
            return [entry.message.seq for entry in (await node.ask("amy", history=history)).page.entries]

        assert await seqs(History(conversation="d:amy|bob", after=0, limit=2)) == [1, 2]
        assert await seqs(History(conversation="d:amy|bob", before=4, limit=2)) == [2, 3]
        assert await seqs(History(conversation="d:amy|bob", before=1)) == []


async def test_a_member_sees_nothing_from_before_they_joined() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await talk(node, "g:x", "amy", 5)
        there.members["bob"].joined_seq = 4
        there.record.version += 1
        page = (await node.ask("bob", history=History(conversation="g:x", after=0))).page
        assert [entry.message.seq for entry in page.entries] == [4, 5]


async def test_a_former_member_reads_nothing_whatever_memory_says() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await talk(node, "g:x", "bob", 2)
        del there.members["bob"]
        there.record.version += 1
        assert (await node.ask("bob", history=History(conversation="g:x"))).error.code == "FORBIDDEN"
