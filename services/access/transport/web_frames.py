"""The frames that a WebSocket server sends, and what RFC 6455 allows a client to send. Pure.

Frames of a server are not masked, so a header is two to ten bytes.

Does not know: picows, what is in a frame.
"""

from __future__ import annotations

from typing import Final

_BYTE_LENGTH_MAX: Final = 125
_SHORT: Final = {first: [bytes((first, size)) for size in range(_BYTE_LENGTH_MAX + 1)] for first in (0x81, 0x82, 0x8A)}


def framed(payload: bytes, first: int) -> bytes:
    """A whole frame; `first` is its first byte, with the kind."""
    size = len(payload)
    if size <= _BYTE_LENGTH_MAX:
        return _SHORT[first][size] + payload
    if size < 0x10000:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def may_be_sent(code: int) -> bool:
    """Whether RFC 6455 and the registry of codes allow it in a close frame. (picows lets 1004 to 1006, 1015 and what is
    above 4999 through.)"""
    return 3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in {1004, 1005, 1006})


def is_text(data: bytes) -> bool:
    """Whether it may be a text message, which is UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
