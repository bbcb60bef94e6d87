"""What reads the bytes of strangers, each as a function of bytes that fails if they do it harm.

Two drive them: hypothesis in every run of the tests (test_targets.py), and atheris by hand (`make fuzz`), which
follows the coverage. What is taken and what is refused is tested elsewhere; here only that there is nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from services.access.connection.traffic import Traffic
from services.access.transport.arrival import feed
from services.access.transport.tcp import TcpServer
from services.access.transport.web_server import WebSocketServer
from services.common.auth.claims import Key
from services.common.auth.token_keys import KeyRefused, jwks_keys, public_key
from services.common.auth.tokens import TokenRefused, TokenVerifier, check_claims, sign
from tests.fuzz.edges import EDGE_SEEDS, EDGES
from tests.support.network.carrying import check_frame
from tests.support.network.port import LIMITS, NO_SOCKET, FakeNode, FakeStream, OpenDoor, seemingly_running
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadFrame
from tidings_protocol.wire.codec import JSON, PROTO, Codec
from tidings_protocol.wire.framing import PREFIX_BYTES, FrameSplitter

SECRET = b"a secret for the fuzzer, long enough!"
NOW = 1_800_000_000.0
VERIFIER = TokenVerifier("local", lambda: [Key("HS256", SECRET)])
GOOD = sign(SECRET, "ann", "local", 3600, now=NOW)
STATUS = re.compile(rb"HTTP/1\.1 (101|200|204|400|404|405|426|431|503) [ -~]*\r\n")


def proto(data: bytes) -> None:
    """A binary frame is a frame or refused, and whatever it brings in can be carried on."""
    _decode(PROTO, data)


def text(data: bytes) -> None:
    """A text frame is a frame or refused, and whatever it brings in can be carried on."""
    _decode(JSON, data)


def _decode(codec: Codec, data: bytes) -> None:
    try:
        frame = codec.decode_client(data)
    except BadFrame:
        return
    assert frame.WhichOneof("body")
    again = codec.decode_client(codec.encode_client(frame))
    assert again.SerializeToString(deterministic=True) == frame.SerializeToString(deterministic=True)
    check_frame(frame)


def framing(data: bytes) -> None:
    """However a stream is cut, the frames are the same and little is kept. The first byte says how it is cut."""
    step, data = (data[0] or 1, data[1:]) if data else (1, data)
    whole, cut = FrameSplitter(64), FrameSplitter(64)
    frames = whole.receive(data)
    pieces: list[bytes] = []
    for start in range(0, len(data), step):
        pieces += cut.receive(data[start : start + step])
        assert cut.pending < PREFIX_BYTES + 64
    assert pieces == frames
    assert (whole.refusal is None) == (cut.refusal is None)


def token(data: bytes) -> None:
    """A token lets nobody in but with the secret; claims are good or refused."""
    with suppress(TokenRefused):
        assert VERIFIER.verify(data.decode("latin-1"), NOW).user == "ann"
    with suppress(TokenRefused):
        check_claims(data, "local", NOW)


def keys(data: bytes) -> None:
    """A key set or a public key is one or refused."""
    for read in (lambda: jwks_keys(data, {"RS256", "ES256", "EdDSA"}), lambda: public_key(data)):
        with suppress(KeyRefused):
            read()


def websocket(data: bytes) -> None:
    """Whatever comes to the WebSocket port gets HTTP and frames of ours. The first byte says how it is cut."""
    stream = FakeStream()
    server = WebSocketServer(FakeNode(), OpenDoor(), Traffic("ws"), LIMITS, NO_SOCKET)
    with seemingly_running():
        _feed(stream, server.protocol(), data)
    said = bytes(stream.written)
    if said:
        assert STATUS.match(said), said[:200]
        assert b"Traceback" not in said
    head, _, rest = said.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 101"):
        assert INTERNAL not in rest


def tcp(data: bytes) -> None:
    """Whatever comes to the TCP port gets frames of ours. The first byte says how it is cut."""
    stream = FakeStream()
    server = TcpServer(FakeNode(), OpenDoor(), Traffic("tcp"), LIMITS, NO_SOCKET)
    with seemingly_running():
        _feed(stream, server.protocol(), data)
    splitter = FrameSplitter(2**24)
    frames = [client_pb2.ServerFrame.FromString(frame) for frame in splitter.receive(bytes(stream.written))]
    assert splitter.pending == 0
    assert all(frame.goodbye.code != 4005 for frame in frames)
    assert all(frame.WhichOneof("body") != "goodbye" for frame in frames[:-1])


INTERNAL = (4005).to_bytes(2, "big") + b"INTERNAL"


def _feed(stream: FakeStream, protocol: Any, data: bytes) -> None:
    step, data = (data[0] or 1, data[1:]) if data else (1, data)
    protocol.connection_made(stream)
    for start in range(0, len(data), step):
        if stream.closing:
            break
        feed(stream.protocol or protocol, data[start : start + step])
    (stream.protocol or protocol).connection_lost(None)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "proto": proto,
    "text": text,
    "framing": framing,
    "token": token,
    "keys": keys,
    "websocket": websocket,
    "tcp": tcp,
    **EDGES,
}


def deep(levels: int) -> client_pb2.Content:
    """A content with so many groups in one another that no version knows."""
    return client_pb2.Content.FromString(b"\x0a\x02hi" + b"\x7b" * levels + b"\x7c" * levels)


def seeds() -> Mapping[str, list[bytes]]:
    """Something of every kind to begin with."""
    hello = client_pb2.ClientFrame(id=1, hello=client_pb2.Hello(token=GOOD, device="d", group_cursors={"g:1": 7}))
    send = client_pb2.ClientFrame(
        id=2, send=client_pb2.Send(client_id="c", user="bob", content=client_pb2.Content(text="hi", headers={"a": "b"}))
    )
    frames = [PROTO.encode_client(frame) for frame in (hello, send)]
    # A content with fields of no version, as deep as the frame can be read.
    nested = PROTO.encode_client(client_pb2.ClientFrame(send=client_pb2.Send(user="bob", content=deep(97))))
    framed = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    upgrade = (
        b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: tidings.v1.proto\r\n\r\n"
    )
    masked = b"".join(bytes([0x82, 0x80 | 126]) + len(f).to_bytes(2, "big") + b"\0\0\0\0" + f for f in frames)
    controls = b"\x89\x80\0\0\0\0" + b"\x02\x81\0\0\0\0a" + b"\x80\x81\0\0\0\0b" + b"\x88\x82\0\0\0\0\x03\xe8"
    claims = json.dumps({"sub": "ann", "aud": ["local"], "exp": NOW + 9, "nbf": NOW, "iat": 1}).encode()
    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    return {
        "proto": [*frames, nested],
        "text": [JSON.encode_client(frame) for frame in (hello, send)],
        "framing": [b"\x05" + framed],
        "token": [GOOD.encode(), claims],
        "keys": [json.dumps({"keys": [jwk]}).encode(), b"-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----\n"],
        "websocket": [
            b"\xff" + upgrade + masked + controls,
            b"\x07GET /v1/route?user=ann HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\xffGET //[ HTTP/1.1\r\nSec-WebSocket-Protocol: \xff\r\n\r\n",
        ],
        "tcp": [b"\xff" + framed],
        **EDGE_SEEDS,
    }
