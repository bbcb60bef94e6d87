"""The JSON codec: `tidings.v1.json`, text messages in protobuf's canonical JSON mapping.

Guarantees: writes what `google.protobuf.json_format` would write; reads what it would read (the exceptions stand in
read.py). A member that stands twice in one object is always found. From a server, unknown fields are passed over,
because a newer one may have more; from a client they are refused and named.

How doubled members are found: the fast parser keeps the last of two without a word. In the text, every member has
a colon right after a quote or after white space, so counting those bytes bounds the number of members from above. If
the bound is the number of members that were kept, none was lost. Otherwise (some string holds such bytes) the text is
read again by the standard library's parser, which shows every member.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from tidings_protocol import client_pb2
from tidings_protocol.errors import BadFrame, Unparsable
from tidings_protocol.wire.body import SERVER_BODIES, EncodedBody
from tidings_protocol.wire.json.read import Malformed, Reader, reader_of
from tidings_protocol.wire.json.text import Doubled, parse, parse_fast, write
from tidings_protocol.wire.json.write import json_bytes, json_value
from tidings_protocol.wire.proto import no_body

FrameT = TypeVar("FrameT", client_pb2.ClientFrame, client_pb2.ServerFrame)

_read_client = reader_of(client_pb2.ClientFrame.DESCRIPTOR, strict=True)
_read_server = reader_of(client_pb2.ServerFrame.DESCRIPTOR, strict=False)
_BODY_KEYS = {kind: b'{"' + field.json_name.encode() + b'":' for kind, field in SERVER_BODIES.items()}


class JsonCodec:
    """Frames as UTF-8 JSON text; see the `Codec` protocol."""

    __slots__ = ()

    subprotocol: Final = "tidings.v1.json"
    binary: Final = False

    def decode_client(self, data: bytes | bytearray | memoryview | str) -> client_pb2.ClientFrame:
        frame = _decode(data, client_pb2.ClientFrame, _read_client)
        if frame.WhichOneof("body") is None:
            raise no_body(frame.id)
        return frame

    def decode_server(self, data: bytes | bytearray | memoryview | str) -> client_pb2.ServerFrame:
        return _decode(data, client_pb2.ServerFrame, _read_server)

    def encode_client(self, frame: client_pb2.ClientFrame) -> bytes:
        return json_bytes(frame)

    def encode_server(self, frame: client_pb2.ServerFrame) -> bytes:
        return json_bytes(frame)

    def deliver(self, entries: Sequence[tuple[int, EncodedBody]]) -> bytes:
        if not entries:
            return b'{"deliver":{}}'
        shown = b",".join(
            [
                b'{"number":"%d","message":%b}' % (number, body.json) if number else b'{"message":%b}' % body.json
                for number, body in entries
            ]
        )
        return b'{"deliver":{"entries":[%b]}}' % shown

    def push(self, body: EncodedBody) -> bytes:
        return _BODY_KEYS[body.kind] + body.json + b"}"

    def reply(self, request_id: int, frame: bytes) -> bytes:
        value = client_pb2.ServerFrame.FromString(frame)
        value.id = request_id
        return json_bytes(value)

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
        sent: dict[str, Any] = {
            "clientId": client_id,
            "messageId": message_id,
            "conversation": conversation,
            "seq": str(seq),
            "timeMs": str(time_ms),
        }
        if duplicate:
            sent["duplicate"] = True
        if number:
            sent["number"] = str(number)
        if state is not None:
            sent["state"] = json_value(client_pb2.State.FromString(state))
        return write({"id": str(request_id), "sent": sent} if request_id else {"sent": sent})


def _decode(data: bytes | bytearray | memoryview | str, kind: type[FrameT], reader: Reader) -> FrameT:
    text = _utf8(data)
    document = parse_fast(text)
    if document is not None:
        frame = kind()
        members = _fill(frame, reader, document)
        if _holds_at_most(text, members):
            return frame
    frame = kind()
    _fill(frame, reader, _exact(text))
    return frame


def _utf8(data: bytes | bytearray | memoryview | str) -> bytes:
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError:
            raise Unparsable("the message is not UTF-8 text: encode it so") from None
    return bytes(data)


def _exact(text: bytes) -> dict[str, Any]:
    """The document with doubled members marked."""
    document = parse(text)
    if not isinstance(document, dict):
        raise Unparsable('a frame is a JSON object, such as {"id": "1", "ping": {}}')
    return document


def _fill(frame: Message, reader: Reader, document: object) -> int:
    try:
        return reader.read(document, frame)
    except Malformed as error:
        path = ".".join(error.path)
        raise BadFrame(f"`{path}` {error.reason}", field=path, request_id=_request_id(document)) from None


def _request_id(document: object) -> int:
    """The id of a frame that is wrong elsewhere; 0 if that cannot be read either."""
    if not isinstance(document, dict) or (isinstance(document, Doubled) and document.name == "id"):
        return 0
    probe = client_pb2.ClientFrame()
    try:
        _read_client.read({"id": document.get("id")}, probe)
    except Malformed:
        return 0
    return probe.id


def _holds_at_most(text: bytes, members: int) -> bool:
    """Whether the text surely has no more members than these."""
    if text.count(b":") <= members:
        return True
    spaced = text.count(b" :") + text.count(b"\n:") + text.count(b"\r:") + text.count(b"\t:")
    return text.count(b'":') + spaced <= members
