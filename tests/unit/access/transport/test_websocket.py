"""WebSocket: messages in fragments, and how what breaks RFC 6455 ends."""

from __future__ import annotations

import pytest

from services.access.transport.websocket import FRAGMENTS_MAX
from tests.unit.access.transport.test_web_server import HELLO, UPGRADE, answered, masked
from tidings_protocol import client_pb2
from tidings_protocol.wire.codec import PROTO

JSON_UPGRADE = UPGRADE.replace(b"tidings.v1.proto", b"tidings.v1.json")


def said(*pieces: bytes, upgrade: bytes = UPGRADE) -> bytes:
    """What the port says behind its answer to the upgrade."""
    return answered(upgrade, *pieces).partition(b"\r\n\r\n")[2]


def close_code(frames: bytes) -> int:
    """Of the close frame that comes first."""
    assert frames[0] == 0x88
    return int.from_bytes(frames[2:4], "big")


def test_a_message_in_fragments_is_one_frame() -> None:
    frames = said(masked(0x02, HELLO[:3]), masked(0x89, b"?"), masked(0x80, HELLO[3:]))
    assert frames.startswith(b"\x8a\x01?"), "a ping is answered within a message"
    assert PROTO.decode_server(frames[5:]).WhichOneof("body") == "welcome"


def test_a_message_in_too_many_fragments_is_refused_with_a_goodbye() -> None:
    frames = said(masked(0x02, b""), *[masked(0x00, b"")] * FRAGMENTS_MAX)
    goodbye: client_pb2.Goodbye = PROTO.decode_server(frames[2 : 2 + frames[1]]).goodbye
    assert goodbye.code == 4504
    assert "send less at once" in goodbye.message


@pytest.mark.parametrize(
    "pieces",
    [
        [masked(0x80, b"")],
        [masked(0x02, b""), masked(0x82, HELLO)],
        [masked(0xC2, HELLO)],
        [masked(0x88, (1005).to_bytes(2, "big"))],
    ],
    ids=["no beginning", "a message within another", "reserved bits", "a code that may not be sent"],
)
def test_what_breaks_the_protocol_closes_with_1002(pieces: list[bytes]) -> None:
    assert close_code(said(*pieces)) == 1002


def test_a_text_that_is_not_utf_8_closes_with_1007() -> None:
    assert close_code(said(masked(0x81, b"\xff"), upgrade=JSON_UPGRADE)) == 1007
