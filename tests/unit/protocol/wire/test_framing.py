"""TCP framing, at its edges; random streams are in the property tests."""

from __future__ import annotations

from tidings_protocol.wire.framing import FrameSplitter, framed


def test_a_frame_goes_with_its_length_before_it() -> None:
    assert framed(b"abc") == b"\x00\x00\x00\x03abc"


def test_a_frame_of_exactly_the_limit_is_taken_and_one_byte_more_is_refused() -> None:
    splitter = FrameSplitter(3)

    assert splitter.receive(framed(b"abc")) == [b"abc"]
    assert splitter.receive(b"\x00\x00\x00\x04") == []
    assert splitter.refusal is not None
    assert "the limit is 3" in splitter.refusal.message


def test_a_refusal_comes_with_the_length_before_anything_of_the_frame_is_kept() -> None:
    splitter = FrameSplitter(1024)

    splitter.receive(b"\xff\xff\xff\xff" + b"x" * 100)

    assert splitter.refusal is not None
    assert splitter.pending == 0


def test_nothing_is_read_after_a_refusal() -> None:
    splitter = FrameSplitter(1)
    splitter.receive(b"\x00\x00\x00\x02")

    assert splitter.receive(framed(b"a")) == []
    assert splitter.pending == 0


def test_half_a_frame_is_pending() -> None:
    splitter = FrameSplitter(10)

    assert splitter.receive(framed(b"abcdef")[:6]) == []
    assert splitter.pending == 6
    assert splitter.receive(b"cdef") == [b"abcdef"]
    assert splitter.pending == 0


def test_an_empty_frame_is_a_frame() -> None:
    assert FrameSplitter(10).receive(framed(b"") + framed(b"")) == [b"", b""]


def test_a_frame_outlives_the_buffer_that_it_came_in() -> None:
    buffer = bytearray(framed(b"abc"))
    frames = FrameSplitter(10).receive(memoryview(buffer))

    buffer[4:] = b"xyz"

    assert frames == [b"abc"]
