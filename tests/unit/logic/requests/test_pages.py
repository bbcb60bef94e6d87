"""What is shown of messages that cannot be read."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2
from tests.unit.logic.harness import logic, message
from tidings_protocol import client_pb2
from tidings_protocol.wire.codec import JSON, PROTO, Codec

History = client_pb2.History


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
