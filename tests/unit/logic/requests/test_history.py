"""What clients read, in batches."""

from __future__ import annotations

from typing import Any

import pytest

from protos.tidings.internal.v1 import storage_pb2
from tests.unit.logic.harness import Logic, logic, message
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable
from tidings_protocol.wire.codec import JSON, PROTO, Codec

History = client_pb2.History
Request = client_pb2.GroupRequest


async def _talk(node: Logic, conversation: str, sender: str, count: int) -> None:
    await node.send(*[message(sender, conversation, str(number)) for number in range(1, count + 1)])


async def test_a_page_of_the_inbox_holds_what_comes_after_the_cursor() -> None:
    async with logic() as node:
        await _talk(node, "d:amy|bob", "amy", 5)
        page = (await node.ask("bob", sync=client_pb2.Sync(after=2, limit=2))).page
        assert [(entry.number, entry.message.content.text) for entry in page.entries] == [(3, "3"), (4, "4")]
        assert (page.next, page.head, page.more) == (4, 5, True)


GROUPS = {levels: b"\x7b" * levels + b"\x7c" * levels for levels in (97, 98, 200)}


@pytest.mark.parametrize("levels", GROUPS)
@pytest.mark.parametrize("codec", [PROTO, JSON], ids=["protobuf", "JSON"])
async def test_a_message_that_nobody_can_read_is_shown_by_its_place_and_spoils_nobodys_page(
    levels: int, codec: Codec
) -> None:
    """Version 0.1.0 stored such messages."""
    async with logic() as node:
        poison = message("eve", "d:bob|eve", "hi")
        poison.content += GROUPS[levels]
        await node.send(message("amy", "d:amy|bob", "1"), poison, message("amy", "d:amy|bob", "2"))
        await node.send(message("amy", "d:amy|zoe", "3"))
        for chat in ("d:amy|bob", "d:bob|eve"):
            node.storage.conversations[chat].members["bob"] = storage_pb2.MemberRecord(user="bob")
        replies = await node.ask_all(
            ("bob", "", {"sync": client_pb2.Sync()}),
            ("zoe", "", {"sync": client_pb2.Sync()}),
            ("bob", "", {"history": History(conversation="d:bob|eve")}),
            ("bob", "", {"conversations": client_pb2.ListConversations()}),
        )
        page, other, history, chats = [
            codec.decode_server(codec.reply(1, each.SerializeToString())) for each in replies
        ]
        assert [(each.number, each.message.conversation, each.message.seq) for each in page.page.entries] == [
            (1, "d:amy|bob", 1),
            (2, "d:bob|eve", 1),
            (3, "d:amy|bob", 2),
        ]
        hi = "hi" if levels < 99 else ""
        assert [each.message.content.text for each in page.page.entries] == ["1", hi, "2"]
        assert [each.message.content.text for each in other.page.entries] == ["3"]
        assert [(each.message.seq, each.message.sender) for each in history.page.entries] == [(1, "eve")]
        last = {each.conversation: each.last for each in chats.conversation_page.conversations}
        assert (last["d:bob|eve"].seq, last["d:bob|eve"].content.text) == (1, hi)
        assert last["d:amy|bob"].content.text == "2"


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
        await _talk(node, "d:amy|bob", "amy", 600)
        for limit, found in ((0, 100), (1, 1), (10_000, 500)):
            assert len((await node.ask("bob", sync=client_pb2.Sync(limit=limit))).page.entries) == found
        for limit, found in ((0, 50), (10_000, 200)):
            history = History(conversation="d:amy|bob", limit=limit)
            assert len((await node.ask("bob", history=history)).page.entries) == found


async def test_history_is_for_those_who_may_read_it() -> None:
    async with logic() as node:
        await _talk(node, "d:amy|bob", "amy", 3)
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
        await _talk(node, "d:amy|bob", "amy", 5)

        async def seqs(history: client_pb2.History) -> list[int]:
            return [entry.message.seq for entry in (await node.ask("amy", history=history)).page.entries]

        assert await seqs(History(conversation="d:amy|bob", after=0, limit=2)) == [1, 2]
        assert await seqs(History(conversation="d:amy|bob", before=4, limit=2)) == [2, 3]
        assert await seqs(History(conversation="d:amy|bob", before=1)) == []


async def test_a_member_sees_nothing_from_before_they_joined() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await _talk(node, "g:x", "amy", 5)
        there.members["bob"].joined_seq = 4
        there.record.version += 1
        page = (await node.ask("bob", history=History(conversation="g:x", after=0))).page
        assert [entry.message.seq for entry in page.entries] == [4, 5]


async def test_a_former_member_reads_nothing_whatever_memory_says() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await _talk(node, "g:x", "bob", 2)
        del there.members["bob"]
        there.record.version += 1
        assert (await node.ask("bob", history=History(conversation="g:x"))).error.code == "FORBIDDEN"


async def test_conversations_are_named_and_counted_for_the_one_who_asks() -> None:
    async with logic() as node:
        await _talk(node, "d:amy|bob", "amy", 3)
        members = node.storage.conversations["d:amy|bob"].members
        members["bob"] = storage_pb2.MemberRecord(user="bob", read_seq=1)
        node.storage.group("g:x", "bob", name="Tea", large_from=4)
        page = (await node.ask("bob", conversations=client_pb2.ListConversations())).conversation_page
        direct, group = page.conversations
        assert (direct.name, direct.kind, direct.head, direct.read_seq) == ("amy", client_pb2.Conversation.DIRECT, 3, 1)
        assert direct.last.content.text == "3"
        assert (group.name, group.kind, group.large_from) == ("Tea", client_pb2.Conversation.GROUP, 4)
        assert not group.HasField("last")


async def test_what_retention_took_does_not_count_as_unread() -> None:
    async with logic() as node:
        await _talk(node, "d:amy|bob", "amy", 9)
        there = node.storage.conversations["d:amy|bob"]
        there.record.first_seq = 8
        for read, shown in ((0, 7), (8, 8)):
            there.members["bob"] = storage_pb2.MemberRecord(user="bob", read_seq=read)
            page = (await node.ask("bob", conversations=client_pb2.ListConversations())).conversation_page
            (direct,) = page.conversations
            assert (direct.head, direct.read_seq) == (9, shown)


async def test_members_come_by_pages_to_members_only() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga", "amy", "bob")
        asked = Request(members=Request.Members(conversation="g:x", limit=2))
        page = (await node.ask("amy", group=asked)).member_page
        assert [(member.user, member.role) for member in page.members] == [("amy", 1), ("bob", 1)]
        assert (page.next, page.more) == ("bob", True)
        asked.members.after = page.next
        page = (await node.ask("amy", group=asked)).member_page
        assert [(member.user, member.role) for member in page.members] == [("olga", 3)]
        assert (await node.ask("eve", group=asked)).error.code == "FORBIDDEN"


async def test_info_is_for_members_and_for_everyone_if_the_group_is_open() -> None:
    async with logic() as node:
        node.storage.group("g:x", "olga")
        node.storage.group("g:open", "olga", open=True, name="Tea")
        asks = [
            (user, "", {"group": Request(info=Request.Info(conversation=conversation))})
            for user in ("olga", "eve")
            for conversation in ("g:x", "g:open", "g:none")
        ]
        replies = await node.ask_all(*asks)
        assert [reply.error.code or reply.group_info.role for reply in replies] == [
            client_pb2.Member.OWNER,
            client_pb2.Member.OWNER,
            "NOT_FOUND",
            "FORBIDDEN",
            client_pb2.Member.ROLE_UNSPECIFIED,
            "NOT_FOUND",
        ]


async def test_presence_is_asked_once_for_all() -> None:
    async with logic() as node:
        record = storage_pb2.SessionRecord(user="amy", device="d", session="s", boot_id="boot-0")
        node.storage.sessions["amy", "d"] = record
        node.storage.last_seen["bob"] = 77
        asks: list[tuple[str, str, dict[str, Any]]] = [
            ("x", "", {"presence": client_pb2.PresenceRequest(users=["amy", "bob"])}),
            ("y", "", {"presence": client_pb2.PresenceRequest(users=["bob", "cleo", "bob"])}),
            ("z", "", {"presence": client_pb2.PresenceRequest(users=[f"u{number}" for number in range(101)])}),
            ("z", "", {"presence": client_pb2.PresenceRequest()}),
        ]
        first, second, third, fourth = await node.ask_all(*asks)
        assert [(each.user, each.online) for each in first.presence_list.users] == [("amy", True), ("bob", False)]
        assert [(each.user, each.last_seen_ms) for each in second.presence_list.users] == [("bob", 77), ("cleo", 0)]
        assert third.error.code == "BAD_REQUEST"
        assert fourth.HasField("presence_list")
        assert node.storage.calls == [("Sessions", 3)]


async def test_one_kind_of_request_that_fails_leaves_the_others_alone() -> None:
    async with logic() as node:
        node.storage.fail["Inbox"] = [Unavailable("storage is away", 200)]
        asks: list[tuple[str, str, dict[str, Any]]] = [
            ("amy", "", {"sync": client_pb2.Sync()}),
            ("amy", "", {"conversations": client_pb2.ListConversations()}),
            ("bob", "", {"sync": client_pb2.Sync()}),
        ]
        first, second, third = await node.ask_all(*asks)
        assert first.error.code == third.error.code == "UNAVAILABLE"
        assert second.HasField("conversation_page")


async def test_a_frame_that_is_none_of_ours_is_refused() -> None:
    async with logic() as node:
        empty, hello = await node.ask_all(("amy", "", {}), ("amy", "", {"hello": client_pb2.Hello()}))
        assert empty.error.code == "BAD_FRAME"
        assert hello.error.code == "BAD_REQUEST"
