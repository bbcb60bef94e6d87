"""Leaving ends everything, whatever the connection does in that moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tidings.core.device import Device, Options
from tidings.shell.engine import Engine
from tidings.state import MemoryState
from tidings.transport.contract import Closed
from tidings_protocol import client_pb2 as pb

pytestmark = pytest.mark.integration


class EndsWhenGivenUp:
    """A connection whose end is seen in the very moment in which nobody wants to read from it any more."""

    async def send(self, frames: Sequence[pb.ClientFrame]) -> None:
        """Takes everything."""

    async def receive(self) -> pb.ServerFrame:
        nothing: asyncio.Future[pb.ServerFrame] = asyncio.get_running_loop().create_future()
        try:
            return await nothing
        except asyncio.CancelledError:
            raise Closed(1006, "gone") from None


@asynccontextmanager
async def connect(_url: str) -> AsyncIterator[EndsWhenGivenUp]:
    yield EndsWhenGivenUp()


async def test_a_connection_that_ends_while_the_client_leaves_does_not_hold_it() -> None:
    device = Device(Options(["ws://nowhere"], "phone"), None, lambda: 0.5)
    async with asyncio.timeout(5):
        async with Engine(device, connect, "token", MemoryState()):
            await asyncio.sleep(0.05)  # the connection is open
