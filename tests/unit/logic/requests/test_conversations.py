"""The list of conversations."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2
from tests.unit.logic.harness import logic, talk
from tidings_protocol import client_pb2


async def test_conversations_are_named_and_counted_for_the_one_who_asks() -> None:
    async with logic() as node:
        await talk(node, "d:amy|bob", "amy", 3)
        members = node.storage.conversations["d:amy|bob"].members
        members["bob"] = storage_pb2.MemberRecord(user="bob", read_seq=1)
        node.storage.group("g:x", "bob", name="Tea", large_from=4)
        page = (await node.ask("bob", conversations=client_pb2.ListConversations())).conversation_page
        direct, group = page.conversations
        assert (direct.name, direct.kind, direct.head, direct.read_seq) == ("amy", client_pb2.Conversation.DIRECT, 3, 1)
        assert direct.last.content.text == "3"
        assert (group.name, group.kind, group.large_from) == ("Tea", client_pb2.Conversation.GROUP, 4)
        assert not group.HasField("last")


async def test_a_list_has_what_storage_says_of_a_conversation() -> None:
    async with logic() as node:
        await talk(node, "d:amy|bob", "amy", 3)
        node.storage.conversations["d:amy|bob"].members["bob"] = storage_pb2.MemberRecord(user="bob", read_seq=1)
        node.storage.conversations["d:amy|bob"].record.pinned.extend([3, 1])
        node.storage.group("g:x", "bob")
        preferences = client_pb2.ConversationPreferences(conversation="d:amy|bob", archived=True)
        node.storage.listed["d:amy|bob"] = storage_pb2.ConversationEntry(
            unread=2,
            unread_mentions=1,
            first_mention_seq=3,
            read_ordinal=1,
            hidden_through=1,
            preferences=preferences,
        )
        page = (await node.ask("bob", conversations=client_pb2.ListConversations())).conversation_page
        direct, group = page.conversations
        assert (direct.unread, direct.unread_mentions, direct.first_mention_seq, direct.read_ordinal) == (2, 1, 3, 1)
        assert (direct.hidden_through, direct.peer, list(direct.pinned)) == (1, "amy", [3, 1])
        assert direct.preferences == preferences
        assert (group.peer, group.HasField("preferences")) == ("", False)


async def test_what_retention_took_does_not_count_as_unread() -> None:
    async with logic() as node:
        await talk(node, "d:amy|bob", "amy", 9)
        there = node.storage.conversations["d:amy|bob"]
        there.record.first_seq = 8
        for read, shown in ((0, 7), (8, 8)):
            there.members["bob"] = storage_pb2.MemberRecord(user="bob", read_seq=read)
            page = (await node.ask("bob", conversations=client_pb2.ListConversations())).conversation_page
            (direct,) = page.conversations
            assert (direct.head, direct.read_seq) == (9, shown)
