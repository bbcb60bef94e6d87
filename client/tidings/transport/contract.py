"""The port between the shell and the network: one open connection that carries frames.

Guarantees: frames go and come in order; after `Closed` nothing comes any more; leaving the context closes the
connection and waits for that no longer than a moment.

Does not know: hello, replies, reconnecting.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from tidings_protocol import client_pb2 as pb

FRAME_BYTES_MAX = 16 * 1024 * 1024  # of the server's frames; a page is about 128 KiB
CLOSE_S = 1.0


class Refused(Exception):  # an outcome, which the core decides on
    """No connection came about. `retry_after_s`: what the server asked for; 0: nothing."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Closed(Exception):  # the usual end of a connection
    """The connection is over. `code`: of the close frame, 0 if it just broke."""

    def __init__(self, code: int = 0, reason: str = "") -> None:
        super().__init__(reason or "the connection was closed")
        self.code = code
        self.reason = reason or "the connection was closed"


class Connection(Protocol):
    async def send(self, frames: Sequence[pb.ClientFrame]) -> None:
        """In order; waits while the network takes no more. Raises Closed."""
        ...

    async def receive(self) -> pb.ServerFrame:
        """The next frame. Raises Closed."""
        ...


Connector = Callable[[str], AbstractAsyncContextManager[Connection]]
"""Opens a connection to a URL. Entering raises Refused."""


def tls_for(url: str, given: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """The context that was given, or the system's, for wss:// and tcps://; none for the others."""
    if url.startswith(("wss://", "tcps://")):
        return given or ssl.create_default_context()
    return None
