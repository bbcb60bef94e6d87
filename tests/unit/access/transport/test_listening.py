"""Sockets that listen, and what both transports share."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest

from services.access.connection.traffic import Traffic
from services.access.transport.listening import EARLY_BYTES_MAX, Listener, StreamLimits, listen
from tests.support.network.port import LIMITS, FakeNode, OpenDoor
from tests.unit.access.transport.test_arrival import Inner


class Plain(Listener):
    """Every connection gets a protocol that notes."""

    def __init__(self, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(FakeNode(), OpenDoor(), Traffic("tcp"), LIMITS, listening, tls)
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


@pytest.mark.parametrize("secure", [True, False])
async def test_tls_has_as_long_to_end_as_a_session_has_to_linger(secure: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, asked = asyncio.get_running_loop(), dict[str, Any]()

    async def create_server(_: Any, **options: Any) -> asyncio.Server:
        asked.update(options)
        return asyncio.Server(loop, [], asyncio.Protocol, None, 0, None)

    monkeypatch.setattr(loop, "create_server", create_server)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if secure else None
    with listen("127.0.0.1:0", send_buffer_bytes=0) as bound:
        async with Plain(bound, tls):
            pass
    times = asked["ssl_handshake_timeout"], asked["ssl_shutdown_timeout"]
    assert times == ((LIMITS.handshake_s, LIMITS.linger_s) if secure else (None, None))


def test_a_stranger_may_send_less_at_once() -> None:
    assert StreamLimits(1 << 20, 1 << 20, 5.0, 3.0).early_bytes_max == EARLY_BYTES_MAX
