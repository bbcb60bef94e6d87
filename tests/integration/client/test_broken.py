"""A connection that breaks is told as such, on every event loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
import uvloop

from tidings.transport.contract import Closed
from tidings.transport.tcp import open_tcp
from tidings_protocol import client_pb2 as pb

pytestmark = pytest.mark.integration

PING = pb.ClientFrame(ping=pb.Ping())


def reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def write_to_one_who_is_gone() -> None:
    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, open_tcp(f"tcp://127.0.0.1:{port}", tls=None, timeout_s=5) as connection:
        await asyncio.sleep(0.1)  # the end is known here, and nobody has read it yet
        with pytest.raises(Closed):
            await connection.send([PING])


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_writing_to_a_connection_that_was_reset_says_that_it_is_closed(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(write_to_one_who_is_gone())
