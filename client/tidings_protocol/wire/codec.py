"""What a codec does, which ones there are, and which one a connection speaks.

Guarantees: both codecs give and take the same values; a connection never needs to know which one it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest
from tidings_protocol.wire.body import EncodedBody
from tidings_protocol.wire.json.codec import JsonCodec
from tidings_protocol.wire.proto import ProtoCodec

Data = bytes | bytearray | memoryview | str


class Codec(Protocol):
    """Frames to bytes and back. Stateless: one object serves every connection."""

    @property
    def subprotocol(self) -> str:
        """The name of the codec in the WebSocket handshake."""
        ...

    @property
    def binary(self) -> bool:
        """Whether its frames are binary WebSocket messages; otherwise UTF-8 text."""
        ...

    def decode_client(self, data: Data) -> client_pb2.ClientFrame:
        """A frame with a body. Raises Unparsable (goodbye 4503), or BadFrame with the field and the request's id."""
        ...

    def decode_server(self, data: Data) -> client_pb2.ServerFrame:
        """A frame; without a body if that is of a newer server. Raises Unparsable or BadFrame."""
        ...

    def encode_client(self, frame: client_pb2.ClientFrame) -> bytes: ...

    def encode_server(self, frame: client_pb2.ServerFrame) -> bytes: ...

    def deliver(self, entries: Sequence[tuple[int, EncodedBody]]) -> bytes:
        """A `deliver` frame of (inbox number, encoded Message)."""
        ...

    def push(self, body: EncodedBody) -> bytes:
        """A frame without an id around any body that ServerFrame has; KeyError for another type."""
        ...

    def reply(self, request_id: int, frame: bytes) -> bytes:
        """The frame for the client from the protobuf bytes of a ServerFrame without id."""
        ...

    def sent(
        self,
        request_id: int,
        *,
        client_id: str,
        message_id: str,
        conversation: str,
        seq: int,
        time_ms: int,
        duplicate: bool,
        number: int,
        state: bytes | None = None,
    ) -> bytes:
        """A `sent` frame; `state` is an encoded State, of a change alone."""
        ...


PROTO: Final[Codec] = ProtoCodec()
JSON: Final[Codec] = JsonCodec()
CODECS: Mapping[str, Codec] = MappingProxyType({codec.subprotocol: codec for codec in (PROTO, JSON)})


def negotiate(offered: Iterable[str]) -> Codec:
    """The codec of the first subprotocol that is known; JSON if none is offered.

    Raises BadRequest (HTTP 400) that names the known ones. The answer repeats `codec.subprotocol` only if there was
    an offer.
    """
    names = list(offered)
    if not names:
        return JSON
    for name in names:
        codec = CODECS.get(name)
        if codec is not None:
            return codec
    raise BadRequest(f"none of the offered subprotocols is known: offer one of {', '.join(CODECS)}")


def offers(header: str | None) -> list[str]:
    """The names in a Sec-WebSocket-Protocol header, in order."""
    return [name for part in (header or "").split(",") if (name := part.strip())]
