"""A connection between its socket and its transport's protocol, until its session is stored.

Until then a stranger may cost little: what comes is read in small pieces, into one buffer that all arrivals share,
counted against what all connections without a session may hold together, and only then handed on. When the session
is stored the protocol takes the socket over (`admit`), and none of this costs anything any more.

Guarantees: what one connection has sent before its welcome is counted until it is welcomed or gone; one that would be
too much is told to come later.

Does not know: HTTP, frames.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, cast

from services.access.admission.addresses import canonical

if TYPE_CHECKING:
    from services.access.admission.admission import Door

READ_BYTES: Final = 16 * 1024
# Filled and emptied within one callback, so one is enough for all.
_BUFFER: Final = memoryview(bytearray(READ_BYTES))


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address at the other end of the socket; empty if it has none."""
    name = transport.get_extra_info("peername")
    return canonical(str(name[0])) if isinstance(name, tuple) and name else ""


def feed(protocol: Any, data: bytes) -> None:
    """Gives data to a protocol as if the socket had brought it."""
    if not hasattr(protocol, "get_buffer"):
        protocol.data_received(data)
        return
    left = memoryview(data)
    while left:
        room = protocol.get_buffer(len(left))
        size = min(len(room), len(left))
        room[:size] = left[:size]
        protocol.buffer_updated(size)
        left = left[size:]


class Arrival(asyncio.BufferedProtocol, ABC):
    """In front of `inner`. A transport's own says what to do with what comes (`receive`), and with too much of it
    (`overflow`)."""

    __slots__ = ("__weakref__", "_door", "_held", "_open", "address", "inner", "stream")

    def __init__(self, door: Door, inner: asyncio.BaseProtocol, address: str) -> None:
        self._door = door
        self._held = 0
        self._open = True
        self.inner: Any = inner
        self.address = address
        self.stream: asyncio.Transport | None = None

    @abstractmethod
    def receive(self, data: bytes) -> None:
        """The next bytes."""

    @abstractmethod
    def overflow(self) -> None:
        """All arrivals together hold too much."""

    def admit(self) -> None:
        """The session is stored: what comes from now on goes to the protocol itself."""
        self._settle()
        if self.stream is not None and not self.stream.is_closing():
            _limit_reading(self.stream, None)
            self.stream.set_protocol(self.inner)

    def ignore(self) -> None:
        """Nothing more is handed on: what still comes is read and dropped."""
        self._open = False

    # ---- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, but not the class.
        self.stream = cast("asyncio.Transport", transport)
        self.address = self.address or peer_of(transport)
        _limit_reading(self.stream, READ_BYTES)
        self.inner.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        if not self._open:
            return
        if not self._door.hold(nbytes):
            self.overflow()
            return
        self._held += nbytes
        self.receive(bytes(_BUFFER[:nbytes]))

    def eof_received(self) -> bool:
        return bool(self.inner.eof_received())

    def connection_lost(self, error: Exception | None) -> None:
        self._settle()
        inner, self.inner = self.inner, None
        self.stream = None
        if inner is not None:
            inner.connection_lost(error)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    # ---- inside

    def _settle(self) -> None:
        self._open = False
        held, self._held = self._held, 0
        if held:
            self._door.give_back(held)


def _limit_reading(stream: asyncio.Transport, size: int | None) -> None:
    """What the TLS below may have read ahead while reading is paused: half a megabyte unless it is told otherwise."""
    limit = getattr(stream, "set_read_buffer_limits", None)
    if limit is not None:
        limit(size)
