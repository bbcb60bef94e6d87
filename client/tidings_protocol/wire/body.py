"""What many connections are sent at once: encoded once per codec, shared by all of them.

Guarantees: `EncodedBody.json` is made at most once. `message_bytes` means what protobuf would have written for the
same fields, with the content embedded as it is. `read_message` always gives a message that every frame can carry.

Does not know: who gets it, frames (the codecs put bodies into frames).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from tidings_protocol import client_pb2
from tidings_protocol.wire.json.write import json_bytes
from tidings_protocol.wire.message import CONTENT_TAG, head_of, message_from
from tidings_protocol.wire.varint import read_varint

# The field of ServerFrame that holds this type of body; every body has a type of its own.
SERVER_BODIES: Final[Mapping[type[Message], FieldDescriptor]] = MappingProxyType(
    {
        type(getattr(client_pb2.ServerFrame(), field.name)): field
        for field in client_pb2.ServerFrame.DESCRIPTOR.oneofs_by_name["body"].fields
    }
)


class EncodedBody:
    """The protobuf bytes of a Message, Receipt, Signal, …; its JSON is made when the first connection needs it."""

    def __init__(self, kind: type[Message], proto: bytes) -> None:
        self.kind: Final = kind
        self.proto: Final = proto

    @classmethod
    def of(cls, message: Message) -> EncodedBody:
        """Makes it from the value itself."""
        return cls(type(message), message.SerializeToString())

    @cached_property
    def json(self) -> bytes:
        """The JSON object; raises protobuf's DecodeError if the bytes are not a `kind`."""
        return json_bytes(self.kind.FromString(self.proto))

    @property
    def size(self) -> int:
        """Bytes in protobuf, which is what an outbox counts before it knows the codec."""
        return len(self.proto)


def message_bytes(
    *,
    conversation: str,
    seq: int,
    message_id: str,
    sender: str,
    time_ms: int,
    content: bytes,
    kind: int,
    client_id: str,
    ordinal: int,
) -> bytes:
    """An encoded tidings.v1.Message; `content` is an encoded Content, which is not looked into."""
    return message_from(head_of(conversation, sender, kind), message_id, seq, time_ms, client_id, content, ordinal)


def read_message(encoded: bytes, into: client_pb2.Message) -> bool:
    """Fills `into` with a Message of whichever version; False: its content cannot be read and is left out.

    Fields that are not known here are left out too: they may be nested so deeply that nobody could read the frame.
    """
    try:
        into.ParseFromString(encoded)
    except DecodeError:
        into.CopyFrom(_head_of(encoded))
        return False
    into.DiscardUnknownFields()
    return True


def _head_of(encoded: bytes) -> client_pb2.Message:
    """What comes before the content, as far as it can be read."""
    at = 0
    try:
        while at < len(encoded) and not encoded.startswith(CONTENT_TAG, at):
            tag, after = read_varint(encoded, at)
            value, after = read_varint(encoded, after)
            at = after + value if tag & 7 == _LENGTH_DELIMITED else after
        return client_pb2.Message.FromString(encoded[:at])
    except (DecodeError, ValueError):
        return client_pb2.Message()


_LENGTH_DELIMITED = 2
