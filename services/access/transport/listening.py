"""What both transports share: sockets, certificates, the limits of a stream.

Does not know: protocols.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.access.admission.addresses import TrustedProxies
from services.access.admission.admission import Door
from services.access.connection.ports import NodePort
from services.access.connection.traffic import Traffic
from services.access.transport.gate import Gate
from services.common.scope import Owned
from services.common.settings.addresses import split_address

NOBODY = TrustedProxies()
BACKLOG = 4096
EARLY_BYTES_MAX = 32 * 1024


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bytes and seconds."""

    frame_bytes_max: int
    outbox_bytes_max: int
    handshake_s: float
    linger_s: float  # to end after the goodbye
    early_bytes_max: int = EARLY_BYTES_MAX  # of a frame before the session is stored


class Listener(Owned):
    """A listening socket and the server on it: it serves while it is entered, and takes nobody new after `stop`.

    With `trusted` proxies each connection passes a gate first (gate.py), which reads what a proxy says of it, and
    begins TLS after that.
    """

    def __init__(
        self,
        node: NodePort,
        door: Door,
        traffic: Traffic,
        limits: StreamLimits,
        listening: socket.socket,
        tls: ssl.SSLContext | None = None,
        trusted: TrustedProxies = NOBODY,
    ) -> None:
        self._socket = listening
        self._tls = tls
        self.node = node
        self.door = door
        self.traffic = traffic
        self.trusted = trusted
        self.limits = limits
        # How long TLS may take to begin, and to end after the goodbye: as long as without it.
        self._times = (limits.handshake_s, limits.linger_s) if tls else (None, None)
        self._server: asyncio.Server | None = None

    @abstractmethod
    def protocol(self, address: str = "") -> asyncio.BaseProtocol:
        """A new connection's, of a client at this address; empty: the socket's."""

    async def _running(self) -> AsyncIterator[None]:
        self._server = await self._serve()
        try:
            yield
        finally:
            self.stop()

    async def _serve(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if self.trusted:
            return await loop.create_server(lambda: Gate(self, self._tls), sock=self._socket, backlog=BACKLOG)
        handshake_s, shutdown_s = self._times
        return await loop.create_server(
            self.protocol,
            sock=self._socket,
            ssl=self._tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=handshake_s,
            ssl_shutdown_timeout=shutdown_s,
        )

    def stop(self) -> None:
        """The connections that are there stay."""
        server, self._server = self._server, None
        if server is not None:
            server.close()


def listen(address: str, *, send_buffer_bytes: int) -> socket.socket:
    """A bound socket; raises OSError if the address cannot be had. Connections inherit its send buffer (0: default)."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if send_buffer_bytes:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    bound.setblocking(False)
    return bound
