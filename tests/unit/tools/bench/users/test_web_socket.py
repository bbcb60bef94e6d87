"""The client's side of WebSocket: what an upgrade was answered, and frames however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.users.web_socket import BINARY, PING, Frame, is_one, split, upgrade, upgraded


def server_frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 0x10000:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


frames = st.builds(
    Frame,
    st.sampled_from([BINARY, PING]),
    st.one_of(st.binary(max_size=130), st.sampled_from([126, 127, 128, 65_535, 65_536]).map(bytes)),
)


@given(st.lists(frames, max_size=5), st.data())
def test_frames_are_told_apart_however_they_are_cut(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(server_frame(*each) for each in sent)
    cut = data.draw(st.integers(0, len(stream)))
    first, rest = split(stream[:cut])
    second, left = split(rest + stream[cut:])
    assert (first + second, left) == (sent, b"")


@given(st.lists(frames, min_size=1, max_size=2), st.integers(0, 3))
def test_only_one_short_binary_frame_is_taken_for_one(sent: list[Frame], lacking: int) -> None:
    stream = b"".join(server_frame(*each) for each in sent)
    stream = stream[: len(stream) - lacking]
    if stream and is_one(stream):
        assert split(stream) == ([Frame(BINARY, stream[2:])], b"")


def test_the_answer_to_an_upgrade_is_read_when_it_is_whole() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    assert upgraded(head[:-1]) is None
    answer = upgraded(head + b"more")
    assert answer is not None
    assert answer.is_done
    assert answer.rest == b"more"


@pytest.mark.parametrize(("header", "retry_s"), [(b"Retry-After: 2\r\n", 2.0), (b"", None)])
def test_who_is_one_too_many_is_told_when_to_come_again(header: bytes, retry_s: float | None) -> None:
    answer = upgraded(b"HTTP/1.1 503 Service Unavailable\r\n" + header + b"\r\n")
    assert answer is not None
    assert not answer.is_done
    assert answer.retry_s == retry_s


def test_an_upgrade_asks_for_its_subprotocol() -> None:
    request = upgrade("127.0.0.1:8000", "/v1/ws", "tidings.v1.proto")
    assert request.startswith(b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert b"Sec-WebSocket-Protocol: tidings.v1.proto\r\n" in request
    assert request.endswith(b"\r\n\r\n")
