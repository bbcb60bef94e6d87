"""Frames in a TCP stream come out as they went in, however the stream is cut, and memory stays bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidings_protocol.wire.framing import PREFIX_BYTES, FrameSplitter, framed

FRAME_BYTES_MAX = 40
FRAMES = st.lists(st.binary(max_size=FRAME_BYTES_MAX), max_size=8)


def _cuts(data: st.DataObject, stream: bytes) -> list[bytes]:
    ends = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [stream[start:end] for start, end in zip([0, *ends], [*ends, len(stream)], strict=True)]


@given(FRAMES, st.data())
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames: list[bytes], data: st.DataObject) -> None:
    splitter = FrameSplitter(FRAME_BYTES_MAX)
    received: list[bytes] = []

    for chunk in _cuts(data, b"".join(map(framed, frames))):
        received += splitter.receive(data.draw(st.sampled_from([bytes, bytearray, memoryview]))(chunk))
        assert splitter.pending < PREFIX_BYTES + FRAME_BYTES_MAX

    assert received == frames
    assert splitter.pending == 0
    assert splitter.refusal is None


@given(FRAMES, st.integers(FRAME_BYTES_MAX + 1, 2**32 - 1), st.binary(max_size=100), st.data())
def test_an_announced_length_over_the_limit_is_refused_after_the_frames_before_it_and_nothing_is_kept(
    frames: list[bytes], length: int, rest: bytes, data: st.DataObject
) -> None:
    splitter = FrameSplitter(FRAME_BYTES_MAX)
    received: list[bytes] = []

    for chunk in _cuts(data, b"".join(map(framed, frames)) + length.to_bytes(PREFIX_BYTES, "big") + rest):
        received += splitter.receive(chunk)

    assert received == frames
    assert splitter.refusal is not None
    assert str(length) in splitter.refusal.message
    assert splitter.pending == 0
