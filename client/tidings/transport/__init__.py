"""How frames travel: WebSocket and TCP behind one port."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from tidings.transport.contract import Connection, Connector
from tidings.transport.tcp import open_tcp
from tidings.transport.websocket import open_websocket
from tidings_protocol.wire.codec import Codec

SCHEMES = ("ws://", "wss://", "tcp://", "tcps://")


def connector(urls: Sequence[str], *, codec: Codec, tls: ssl.SSLContext | None, timeout_s: float) -> Connector:
    """Opens what the URL's scheme says. Raises ValueError for URLs that are none of ours."""
    if not urls:
        raise ValueError("give at least one URL")
    for url in urls:
        if not url.startswith(SCHEMES):
            raise ValueError(f"{url!r} is no address of a server: it begins with one of {', '.join(SCHEMES)}")

    def connect(url: str) -> AbstractAsyncContextManager[Connection]:
        if url.startswith(("tcp://", "tcps://")):
            return open_tcp(url, tls=tls, timeout_s=timeout_s)
        return open_websocket(url, codec=codec, tls=tls, timeout_s=timeout_s)

    return connect
