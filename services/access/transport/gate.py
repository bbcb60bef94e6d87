"""Before a connection of a node that stands behind proxies: what a proxy says of it, then TLS, then the protocol.

Only entered with `trusted_proxies`. What the connection begins with is looked at: a PROXY header of a trusted proxy
gives the client's address, one of anybody else ends the connection.

Guarantees: at most a header is kept, for at most half the time of a handshake; a gate counts as an arrival.

Does not know: HTTP, frames.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, cast

from uvloop.loop import SSLProtocol  # type: ignore[attr-defined]  # not in its stubs

from services.access.admission.proxy_header import NOT_TRUSTED, BadProxyHeader, may_be_header, read_header
from services.access.transport.arrival import feed, peer_of
from services.common.telemetry import logs, metrics

if TYPE_CHECKING:
    from services.access.transport.listening import Listener

PATIENCE = 0.5  # of the time for a handshake: a balancer writes its header at once

log = logs.get_logger(__name__)


class Gate(asyncio.Protocol):
    """The gate of one connection, which is there until it knows whose it is."""

    __slots__ = ("__weakref__", "_data", "_late", "_listener", "_peer", "_stream", "_tls")

    def __init__(self, listener: Listener, tls: ssl.SSLContext | None) -> None:
        self._listener = listener
        self._tls = tls
        self._data = b""
        self._peer = ""
        self._stream: asyncio.Transport | None = None
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._stream = cast("asyncio.Transport", transport)
        self._peer = peer_of(transport)
        stranger = self._tls is None and self._peer not in self._listener.trusted
        if stranger or not self._listener.door.reserve(self):
            self._hand_over(self._peer)  # its protocol tells it what it has to be told
            return
        loop = asyncio.get_running_loop()
        self._late = loop.call_later(self._listener.limits.handshake_s * PATIENCE, self._give_up)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not may_be_header(self._data):
            self._hand_over(self._peer)
            return
        try:
            header = read_header(self._data)
        except BadProxyHeader as error:
            self._refuse(str(error))
            return
        if self._peer not in self._listener.trusted:
            self._refuse(NOT_TRUSTED)  # under TLS nothing can be said to it
            return
        if header is not None:
            self._data = self._data[header.size :]
            self._hand_over(header.address or self._peer)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._leave()

    def _hand_over(self, address: str) -> None:
        stream, data = self._stream, self._data
        assert stream is not None
        self._leave()
        protocol = self._listener.protocol(address)
        if self._tls is not None:
            # As the loop's own server does it; its `start_tls` would need a task, and loses what was read already.
            protocol = SSLProtocol(
                asyncio.get_running_loop(),
                protocol,
                self._tls,
                None,
                server_side=True,
                ssl_handshake_timeout=self._listener.limits.handshake_s,
                ssl_shutdown_timeout=self._listener.limits.linger_s,
            )
        stream.set_protocol(protocol)
        protocol.connection_made(stream)
        if data and not stream.is_closing():
            feed(protocol, data)

    def _refuse(self, why: str) -> None:
        metrics.CONNECTIONS_REFUSED.labels("proxy").inc()
        log.warning("connection with a wrong PROXY header refused", peer=self._peer, error=why)
        assert self._stream is not None
        self._stream.abort()

    def _give_up(self) -> None:
        if not self._data:
            self._hand_over(self._peer)  # who says nothing is told so by its protocol, in its time
            return
        metrics.CONNECTIONS_REFUSED.labels("slow").inc()
        assert self._stream is not None
        self._stream.abort()

    def _leave(self) -> None:
        self._listener.door.release(self)
        self._stream, self._data = None, b""
        if self._late is not None:
            self._late.cancel()
            self._late = None
