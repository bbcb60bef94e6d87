"""Where WebSocket frames begin in a stream, and which announce more than they may: for before the login. Pure.

The library that parses the frames has one limit for a connection's whole life; before the session is stored there is a
lower one, and it must be told by a frame's header, before its payload is kept.

Guarantees: keeps less than one header, however the stream is cut. What is wrong in other ways is left to the library.

Does not know: masks, fragments of a message (websocket.py adds them up).
"""

from __future__ import annotations

from typing import Final

HEADER_BYTES_MIN: Final = 2
CONTROL: Final = 0x08
MASKED: Final = 0x80
_LENGTH_BYTES: Final = {126: 2, 127: 8}


class MessageWatch:
    """Watches what one connection brings."""

    __slots__ = ("_header", "_limit", "_payload")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._header = bytearray()
        self._payload = 0  # bytes of the present frame that are still to come

    def look(self, data: bytes) -> int:
        """How many of the next bytes may be handed on: all, or those before the end of a header that announces too
        much."""
        at = 0
        while at < len(data):
            if self._payload:
                passed = min(self._payload, len(data) - at)
                self._payload -= passed
                at += passed
                continue
            self._header.append(data[at])
            at += 1
            if len(self._header) == _header_bytes(self._header):
                self._payload = _payload_bytes(self._header)
                control = self._header[0] & CONTROL
                self._header.clear()
                if self._payload > self._limit and not control:
                    return at - 1
        return len(data)


def _header_bytes(header: bytearray) -> int:
    if len(header) < HEADER_BYTES_MIN:
        return HEADER_BYTES_MIN
    mask = 4 if header[1] & MASKED else 0
    return HEADER_BYTES_MIN + _LENGTH_BYTES.get(header[1] & 0x7F, 0) + mask


def _payload_bytes(header: bytearray) -> int:
    length = header[1] & 0x7F
    size = _LENGTH_BYTES.get(length, 0)
    return int.from_bytes(header[HEADER_BYTES_MIN : HEADER_BYTES_MIN + size], "big") if size else length
