"""The two pieces of protobuf's encoding that concatenation, and looking past a broken field, need: varints and tags.

Guarantees: what they give is what protobuf itself writes. Tags come from the descriptors, so that numbers stand in the
.proto file only.
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_VARINT, _LENGTH_DELIMITED = 0, 2
_WIRE_TYPES = {
    FieldDescriptor.TYPE_UINT64: _VARINT,
    FieldDescriptor.TYPE_STRING: _LENGTH_DELIMITED,
    FieldDescriptor.TYPE_BYTES: _LENGTH_DELIMITED,
    FieldDescriptor.TYPE_MESSAGE: _LENGTH_DELIMITED,
}


def _encode(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# Lengths and tags are small: 0.04 µs from the table against 0.3 µs by the loop.
_SMALL = tuple(_encode(number) for number in range(4096))


def varint(number: int) -> bytes:
    """A number from 0 to 2**64 - 1."""
    return _SMALL[number] if number < 4096 else _encode(number)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where what follows it does. Raises ValueError if there is none."""
    number = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise ValueError("no varint")


def length_delimited_tag(message: type[Message], field: str) -> bytes:
    """The tag of a string, bytes or message field."""
    return _tag(message, field, _LENGTH_DELIMITED)


def varint_tag(message: type[Message], field: str) -> bytes:
    """The tag of a uint64 field."""
    return _tag(message, field, _VARINT)


def _tag(message: type[Message], field: str, wire_type: int) -> bytes:
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    if _WIRE_TYPES.get(descriptor.type) != wire_type:
        raise TypeError(f"{descriptor.full_name} is not written with wire type {wire_type}")
    return _encode(descriptor.number << 3 | wire_type)
