"""The client's side of WebSocket, as little of it as a crowd needs: the upgrade, and where frames end. Pure.

Guarantees: frames are told apart however the bytes are cut. Frames of a server are not masked, and Tidings sends each
message as one frame.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

BINARY, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A
_HEAD_END = b"\r\n\r\n"
_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455: it protects from proxies that cache, and there is none
_LENGTH_2, _LENGTH_8 = 126, 127


class Upgraded(NamedTuple):
    """What a server said to the upgrade. `retry_s`: when to come again, where it says so; `rest` came behind it."""

    status: int
    retry_s: float | None
    rest: bytes

    @property
    def is_done(self) -> bool:
        return self.status == HTTPStatus.SWITCHING_PROTOCOLS


class Frame(NamedTuple):
    first: int  # with its opcode and FIN
    payload: bytes


def upgrade(host: str, path: str, subprotocol: str) -> bytes:
    """The request of a client."""
    lines = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n"
    )
    return lines.encode() + b"Sec-WebSocket-Key: " + _KEY + _HEAD_END


def upgraded(data: bytes) -> Upgraded | None:
    """The answer to it; None: it is not there whole yet."""
    head, end, rest = data.partition(_HEAD_END)
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    told = headers.get("retry-after", "")
    return Upgraded(int(first.split(" ")[1]), float(told) if told.isdigit() else None, rest)


def is_one(data: bytes) -> bool:
    """Whether this is one short binary frame, and nothing else."""
    return len(data) > 1 and data[0] == BINARY and data[1] < _LENGTH_2 and len(data) == data[1] + 2


def split(data: bytes) -> tuple[list[Frame], bytes]:
    """The whole frames at the beginning, and what is left behind them."""
    frames: list[Frame] = []
    at = 0
    while found := _bounds(data, at):
        begin, end = found
        frames.append(Frame(data[at], data[begin:end]))
        at = end
    return frames, data[at:]


def _bounds(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame that begins there begins and ends; None: it is not there whole."""
    if len(data) < at + 2:
        return None
    size, begin = data[at + 1], at + 2
    width = {_LENGTH_2: 2, _LENGTH_8: 8}.get(size, 0)
    if width:
        size, begin = int.from_bytes(data[begin : begin + width], "big"), begin + width
    return (begin, begin + size) if len(data) >= begin + size else None
