"""Requests that access nodes pass on: each has its handler in logic."""

from __future__ import annotations

from protos.tidings.internal.v1 import logic_pb2
from tests.support.device.requests import empty_request
from tests.unit.logic.harness import logic
from tidings_protocol.client_pb2 import ServerFrame
from tidings_protocol.operations import OPERATIONS, Handler


async def test_every_operation_that_logic_handles_has_a_handler_and_no_other_has() -> None:
    async with logic() as node:
        assert node.handling.names == {
            name for name, operation in OPERATIONS.items() if operation.handler is Handler.LOGIC
        }


async def test_an_operation_that_logic_does_not_handle_is_refused_by_name() -> None:
    async with logic() as node:
        for operation in OPERATIONS.values():
            if operation.handler is Handler.LOGIC:
                continue
            frame = empty_request(operation).SerializeToString()
            [outcome] = await node.handling.handle([logic_pb2.HandleItem(user="ann", frame=frame)])
            error = ServerFrame.FromString(outcome.frame).error
            assert (error.code, error.message) == ("BAD_REQUEST", f"{operation.body} is not answered here")
