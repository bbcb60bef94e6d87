"""Frames of a WebSocket as bytes, and what RFC 6455 asks for."""

from __future__ import annotations

import pytest

from services.access.transport.web_frames import framed, is_text, may_be_sent


@pytest.mark.parametrize(("size", "head"), [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_a_frame_of_ours_has_the_shortest_header(size: int, head: int) -> None:
    frame = framed(b"x" * size, 0x82)
    assert (len(frame), frame[0]) == (head + size, 0x82)


@pytest.mark.parametrize("code", [1000, 1003, 1014, 3000, 4999])
def test_codes_that_a_close_frame_may_have(code: int) -> None:
    assert may_be_sent(code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_codes_that_no_close_frame_may_have(code: int) -> None:
    assert not may_be_sent(code)


@pytest.mark.parametrize(("data", "text"), [(b"{}", True), ("ä".encode(), True), (b"\xff", False), (b"\xc3", False)])
def test_text_is_utf_8(data: bytes, text: bool) -> None:
    assert is_text(data) is text
