"""Pings that are told by their bytes: just those that protobuf reads as pings, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings_protocol import client_pb2
from tidings_protocol.errors import BadFrame
from tidings_protocol.wire.codec import PROTO
from tidings_protocol.wire.ping import Ping, ping_in

ClientFrame = client_pb2.ClientFrame


@pytest.mark.parametrize("request_id", [0, 1, 127, 128, 2**28 - 1])
@pytest.mark.parametrize("idle", [False, True])
def test_a_ping_as_clients_write_it_is_told(request_id: int, idle: bool) -> None:
    frame = ClientFrame(id=request_id, ping=client_pb2.Ping(idle=idle))
    assert ping_in(frame.SerializeToString()) == Ping(request_id, idle)


def test_one_with_a_longer_id_is_left_to_the_codec() -> None:
    assert ping_in(ClientFrame(id=2**28, ping=client_pb2.Ping()).SerializeToString()) is None


pieces = st.sampled_from(
    [
        b"",
        b"\x08",
        b"\x08\x05",
        b"\x08\x80\x01",
        b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
        b"\x10\x05",
        b"\x5a\x00",
        b"\x5a\x02\x08\x01",
        b"\x5a\x02\x08\x00",
        b"\x62\x00",
        b"\x52\x04\x0a\x02\x5a\x00",
    ]
)


@given(st.one_of(st.binary(max_size=12), st.lists(pieces, max_size=4).map(b"".join)))
def test_what_is_told_is_what_the_codec_reads(data: bytes) -> None:
    told = ping_in(data)
    if told is not None:
        frame = PROTO.decode_client(data)
        assert (frame.WhichOneof("body"), Ping(frame.id, frame.ping.idle)) == ("ping", told)


@given(st.binary(max_size=12))
def test_whatever_comes_is_no_defect(data: bytes) -> None:
    try:
        PROTO.decode_client(data)
    except BadFrame:
        assert ping_in(data) is None
