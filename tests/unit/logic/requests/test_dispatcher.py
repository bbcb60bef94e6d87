"""Requests of all kinds in one batch."""

from __future__ import annotations

from typing import Any

from protos.tidings.internal.v1 import logic_pb2
from tests.support.device.requests import empty_request
from tests.unit.logic.harness import logic
from tidings_protocol import client_pb2
from tidings_protocol.client_pb2 import ServerFrame
from tidings_protocol.errors import Unavailable
from tidings_protocol.operations import OPERATIONS, Handler


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


async def test_every_operation_that_logic_handles_has_a_handler_and_no_other_has() -> None:
    async with logic() as node:
        assert node.dispatcher.names == {
            name for name, operation in OPERATIONS.items() if operation.handler is Handler.LOGIC
        }


async def test_an_operation_that_logic_does_not_handle_is_refused_by_name() -> None:
    async with logic() as node:
        for operation in OPERATIONS.values():
            if operation.handler is Handler.LOGIC:
                continue
            frame = empty_request(operation).SerializeToString()
            [outcome] = await node.dispatcher.handle([logic_pb2.HandleItem(user="ann", frame=frame)])
            error = ServerFrame.FromString(outcome.frame).error
            assert (error.code, error.message) == (
                "BAD_REQUEST",
                f"a logic node does not answer {operation.body}: ask an access node",
            )
