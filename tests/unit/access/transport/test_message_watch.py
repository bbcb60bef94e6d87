"""Where WebSocket frames begin, and which announce too much: however the stream is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.access.transport.message_watch import MessageWatch

LIMIT = 300


def framed(size: int, *, first: int = 0x82) -> bytes:
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return bytes([first]) + length + b"mask" + b"\x82" * min(size, 2 * LIMIT)


@given(st.lists(st.integers(0, LIMIT), max_size=6), st.sampled_from([LIMIT + 1, 65536, 2**40]), st.integers(1, 50))
def test_a_frame_over_the_limit_is_seen_by_its_header_and_no_other(sizes: list[int], large: int, step: int) -> None:
    fine = b"".join(map(framed, sizes))
    data = fine + framed(large)
    watch = MessageWatch(LIMIT)
    handed_on = 0
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        taken = watch.look(piece)
        handed_on += taken
        if taken < len(piece):
            break
    assert len(fine) <= handed_on < len(fine) + 14


@given(st.binary(max_size=200), st.integers(1, 20))
def test_it_does_not_matter_how_a_stream_is_cut(data: bytes, step: int) -> None:
    whole = MessageWatch(LIMIT).look(data)
    cut = MessageWatch(LIMIT)
    taken = 0
    for start in range(0, len(data), step):
        piece = data[start : start + step]
        taken += cut.look(piece)
        if taken < start + len(piece):
            break
    assert taken == whole
