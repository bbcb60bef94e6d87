"""Requests of all kinds in one batch."""

from __future__ import annotations

from typing import Any

from tests.unit.logic.harness import logic
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable


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
