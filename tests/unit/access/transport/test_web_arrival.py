"""A connection to the WebSocket port before its session is stored."""

from __future__ import annotations

import pytest

from services.access.admission.proxy_header import VERSION_2
from services.access.transport.http import HEAD_BYTES_MAX
from services.access.transport.web_arrival import WebArrival
from services.common.telemetry import metrics
from tests.support.network.port import FakeStream, OpenDoor, seemingly_running
from tests.unit.access.transport.test_web_server import UPGRADE, server


def answered(*pieces: bytes, door: OpenDoor | None = None) -> bytes:
    stream = FakeStream()
    with seemingly_running():
        arrival = server(door).protocol()
        assert isinstance(arrival, WebArrival)
        arrival.connection_made(stream)
        for piece in pieces:
            arrival.buffer_updated(_put(arrival, piece))
        arrival.connection_lost(None)
    return bytes(stream.written)


def _put(arrival: WebArrival, data: bytes) -> int:
    arrival.get_buffer(len(data))[: len(data)] = data
    return len(data)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_route_is_told_however_the_request_is_cut(step: int) -> None:
    request = b"GET /v1/route?user=ann HTTP/1.1\r\nHost: a\r\n\r\n"
    said = answered(*(request[start : start + step] for start in range(0, len(request), step)))
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.endswith(b'{"user":"ann"}')


def test_a_head_that_is_too_large_is_told_so_and_counted() -> None:
    refused = metrics.CONNECTIONS_REFUSED.labels("http_431")
    before = refused._value.get()
    assert answered(b"GET / HTTP/1.1\r\nCookie: ", b"x" * (HEAD_BYTES_MAX - 10)).startswith(b"HTTP/1.1 431 ")
    assert refused._value.get() == before + 1


def test_a_proxy_header_that_nobody_expected_is_told_as_such() -> None:
    said = answered(VERSION_2 + b"\x21\x11\x00\x0c")
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"trusted_proxies" in said


def test_a_frame_over_the_lower_limit_is_refused_by_its_header() -> None:
    huge = bytes((0x82, 0xFF)) + (1 << 20).to_bytes(8, "big") + bytes(4)
    _, _, frames = answered(UPGRADE, huge).partition(b"\r\n\r\n")
    assert b"until it is welcomed" in frames


def test_when_all_together_hold_too_much_the_one_that_comes_is_told_to_come_later() -> None:
    class Full(OpenDoor):
        def hold(self, size: int) -> bool:
            return False

    assert answered(b"GET", door=Full()).startswith(b"HTTP/1.1 503 ")


def test_after_an_answer_what_still_comes_is_dropped() -> None:
    said = answered(b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n")
    assert said.count(b"HTTP/1.1 404") == 1
