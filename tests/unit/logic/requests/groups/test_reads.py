"""What is read of a group."""

from __future__ import annotations

from tests.unit.logic.harness import logic
from tidings_protocol import client_pb2

Request = client_pb2.GroupRequest


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
