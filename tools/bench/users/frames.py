"""What the load generator writes: whole frames as bytes, with all that a transport puts around them. Pure.

Guarantees: a frame reads as the same message that a client library would write. A send costs one formatting of bytes:
all but its numbers is made once, and its size never changes, so that the lengths before it stand too.

WebSocket frames are masked with a key of zeros, which is a legal one and leaves the payload as it is. (A key must be
hard to guess where a browser runs a stranger's code; a load generator is nobody's browser.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tidings_protocol import client_pb2 as pb
from tidings_protocol.wire.codec import JSON, PROTO, Codec
from tidings_protocol.wire.framing import framed
from tidings_protocol.wire.varint import length_delimited_tag, varint, varint_tag

Wrap = Callable[[bytes], bytes]
Make = Callable[[int], bytes]

# The ids of sends begin here: so many digits (JSON) and so many bytes (protobuf) have all of them.
SEND_ID = 1_000_000_000
NUMBER_MAX = 1_000_000_000
SENDER_MAX = 1_000_000
NUMBER_DIGITS = 10
SENDER_STEP = 10_000_000_000  # of marks
MARK_DIGITS = 6 + NUMBER_DIGITS  # a text begins with its mark: sender and number
FILLER = "x"
SIGNAL = "bench"

_NO_MASK = bytes(4)
_ACK = length_delimited_tag(pb.ClientFrame, "ack")
_ACK_NUMBER = varint_tag(pb.Ack, "number")
_HOLE = "#" * NUMBER_DIGITS
_BINARY, _TEXT = 0x82, 0x81


@dataclass(frozen=True, slots=True)
class Wire:
    """A codec on a transport."""

    transport: str
    codec: Codec
    wrap: Wrap

    def frame(self, frame: pb.ClientFrame) -> bytes:
        return self.wrap(self.codec.encode_client(frame))


def masked(payload: bytes, first: int) -> bytes:
    """A whole WebSocket message of a client."""
    size = len(payload)
    if size < 126:
        return bytes((first, 0x80 | size)) + _NO_MASK + payload
    if size < 0x10000:
        return bytes((first, 0xFE)) + size.to_bytes(2, "big") + _NO_MASK + payload
    return bytes((first, 0xFF)) + size.to_bytes(8, "big") + _NO_MASK + payload


WS_PROTO = Wire("ws", PROTO, lambda payload: masked(payload, _BINARY))
WS_JSON = Wire("ws", JSON, lambda payload: masked(payload, _TEXT))
TCP = Wire("tcp", PROTO, framed)


def sends(wire: Wire, run: str, sender: int, conversation: str, size_bytes: int) -> Make:
    """Makes the send of a number: its client id is `<run>-<number>`, its text begins with the mark."""
    text = f"{sender:06d}{_HOLE}".ljust(size_bytes, FILLER)
    send = pb.Send(client_id=f"{run}-{_HOLE}", conversation=conversation, content=pb.Content(text=text))
    whole = wire.frame(pb.ClientFrame(id=SEND_ID, send=send)).replace(b"%", b"%%")
    if whole.count(_HOLE.encode()) != 2:
        raise ValueError(f"{run!r} and {conversation!r} leave no room for the numbers of messages")
    template = whole.replace(_HOLE.encode(), b"%010d")
    if wire.codec is JSON:
        return _textual(template)
    return _binary(template)


def signals(wire: Wire, sender: int, user: str) -> Make:
    """Makes the signal of a number to a user: its data is the mark."""
    marked = marks(sender)
    if wire.codec is JSON:
        return lambda number: wire.frame(_signal(user, b"%016d" % (marked + number)))
    hole = b"#" * MARK_DIGITS
    template = wire.frame(_signal(user, hole)).replace(b"%", b"%%").replace(hole, b"%016d")
    return lambda number: template % (marked + number)


def _signal(user: str, data: bytes) -> pb.ClientFrame:
    return pb.ClientFrame(signal=pb.Signal(user=user, name=SIGNAL, data=data))


def _textual(template: bytes) -> Make:
    template = template.replace(str(SEND_ID).encode(), b"%d", 1)

    def make(number: int) -> bytes:
        return template % (SEND_ID + number, number, number)

    return make


def _binary(template: bytes) -> Make:
    template = template.replace(_varint5(SEND_ID), b"%b%b", 1)

    def make(number: int) -> bytes:
        request = SEND_ID + number
        return template % (_LOW[request & 0x3FFF], _varint3(request >> 14), number, number)

    return make


def acks(wire: Wire) -> Make:
    """Makes the acknowledgement of an inbox number."""
    if wire.codec is JSON:
        return lambda number: wire.wrap(b'{"ack":{"number":"%d"}}' % number)

    def make(number: int) -> bytes:
        body = _ACK_NUMBER + varint(number)
        return wire.wrap(_ACK + varint(len(body)) + body)

    return make


def marks(sender: int) -> int:
    """What is added to a number of this sender to make its mark."""
    return sender * SENDER_STEP


_LOW = tuple(bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(0x4000))


def _varint3(high: int) -> bytes:
    found = _HIGH.get(high)
    if found is None:
        found = _HIGH[high] = bytes((high & 0x7F | 0x80, high >> 7 & 0x7F | 0x80, high >> 14))
    return found


def _varint5(number: int) -> bytes:
    return _LOW[number & 0x3FFF] + _varint3(number >> 14)


_HIGH: dict[int, bytes] = {}  # one for 16,384 messages of a process
