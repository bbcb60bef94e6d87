"""What the load generator writes is what a client library would write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings_protocol import client_pb2 as pb
from tidings_protocol.wire.codec import JSON
from tools.bench.users.frames import (
    MARK_DIGITS,
    NUMBER_MAX,
    SEND_ID,
    SENDER_MAX,
    TCP,
    WS_JSON,
    WS_PROTO,
    Wire,
    acks,
    marks,
    masked,
    sends,
    signals,
)

WIRES = pytest.mark.parametrize("wire", [TCP, WS_PROTO, WS_JSON], ids=["tcp", "ws", "json"])


def _payload(wire: Wire, data: bytes) -> bytes:
    """What is within, if its length is right."""
    if wire is TCP:
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        return data[4:]
    assert data[0] == (0x81 if wire.codec is JSON else 0x82)
    assert data[1] & 0x80
    size, place = data[1] & 0x7F, 2
    if size >= 126:
        place = 4 if size == 126 else 10
        size = int.from_bytes(data[2:place], "big")
    assert data[place : place + 4] == bytes(4)
    assert len(data) == place + 4 + size
    return data[place + 4 :]


@WIRES
@given(number=st.integers(0, NUMBER_MAX - 1), sender=st.integers(0, SENDER_MAX - 1), size=st.integers(48, 300))
def test_a_send_reads_as_the_message_it_stands_for(wire: Wire, number: int, sender: int, size: int) -> None:
    make = sends(wire, "bench-0a1b2c", sender, "d:ann|bob%", size)
    frame = wire.codec.decode_client(_payload(wire, make(number)))
    text = frame.send.content.text
    assert frame == pb.ClientFrame(
        id=SEND_ID + number,
        send=pb.Send(client_id=f"bench-0a1b2c-{number:010d}", conversation="d:ann|bob%", content=pb.Content(text=text)),
    )
    assert len(text) == size
    assert int(text[:MARK_DIGITS]) == marks(sender) + number


@WIRES
@given(number=st.integers(1, 2**63))
def test_an_acknowledgement_reads_as_one(wire: Wire, number: int) -> None:
    frame = wire.codec.decode_client(_payload(wire, acks(wire)(number)))
    assert frame == pb.ClientFrame(ack=pb.Ack(number=number))


@WIRES
@given(number=st.integers(0, NUMBER_MAX - 1), sender=st.integers(0, SENDER_MAX - 1))
def test_a_signal_carries_its_mark(wire: Wire, number: int, sender: int) -> None:
    frame = wire.codec.decode_client(_payload(wire, signals(wire, sender, "bob%")(number)))
    assert frame == pb.ClientFrame(
        signal=pb.Signal(user="bob%", name="bench", data=b"%016d" % (marks(sender) + number))
    )


@given(st.binary(max_size=70_000))
def test_a_masked_message_holds_its_payload(payload: bytes) -> None:
    assert _payload(WS_PROTO, masked(payload, 0x82)) == payload
