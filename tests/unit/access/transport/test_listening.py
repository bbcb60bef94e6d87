"""Sockets that listen, and what both transports share."""

from __future__ import annotations

import asyncio
import socket

import pytest

from services.access.admission.addresses import TrustedProxies
from services.access.transport.listening import EARLY_BYTES_MAX, Listener, StreamLimits, listen
from tests.support.network.port import OpenDoor
from tests.unit.access.transport.test_arrival import Inner


class Plain(Listener):
    """Every connection gets a protocol that notes."""

    def __init__(self, listening: socket.socket) -> None:
        super().__init__(listening, OpenDoor(), None, 1.0, TrustedProxies())
        self.made: list[Inner] = []

    def protocol(self, address: str = "") -> asyncio.BaseProtocol:
        self.made.append(Inner())
        return self.made[-1]


def test_an_address_that_is_taken_is_told_with_its_name() -> None:
    with listen("127.0.0.1:0", send_buffer_bytes=0) as first:
        taken = f"127.0.0.1:{first.getsockname()[1]}"
        first.listen()
        with pytest.raises(OSError, match=f"cannot listen on {taken}"):
            listen(taken, send_buffer_bytes=0)


def test_connections_inherit_the_send_buffer() -> None:
    with listen("127.0.0.1:0", send_buffer_bytes=65536) as bound:
        assert bound.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= 65536
        assert not bound.getblocking()


async def test_it_serves_while_it_is_entered_and_takes_nobody_new_after_that() -> None:
    with listen("127.0.0.1:0", send_buffer_bytes=0) as bound:
        host, port = bound.getsockname()
        async with Plain(bound) as listener:
            _, writer = await asyncio.open_connection(host, port)
            async with asyncio.timeout(5):
                while not listener.made:  # noqa: ASYNC110 - a plain value of the listener
                    await asyncio.sleep(0)
            writer.close()
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection(host, port)


def test_a_stranger_may_send_less_at_once() -> None:
    assert StreamLimits(1 << 20, 1 << 20, 5.0).early_bytes_max == EARLY_BYTES_MAX
