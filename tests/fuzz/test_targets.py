"""Bytes of strangers do no harm: what was found before, what is nearly right, and anything at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import GOOD, TARGETS, seeds

CORPUS = Path(__file__).parent / "corpus"
SEEDS = seeds()
each = pytest.mark.parametrize("name", TARGETS)
PIECES = st.sampled_from(
    [
        b"GET ",
        b"/v1/ws",
        b"/v1/route?user=",
        b" HTTP/1.1\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"Upgrade: websocket\r\n",
        b"[",
        b"//",
        b"Sec-WebSocket-Protocol: ",
        b"Sec-WebSocket-Key: ",
        b"Content-Length: 5\r\n",
        b"\xff",
        b"\0",
        b"%00",
        b"\x82\xfe",
        b"\x82\xff",
        b"\x89\x80",
        b"\x88\x82",
        b"\x00\x80",
        b"\0\0\0\0",
        b"\0\0\0\x05",
        b"\x08\x01",
        b'{"',
        b'":',
        b"{}",
        b"[",
        b'{"send":',
        b'"id":1e400',
        b"\\ud800",
        b"9" * 30,
        b".",
        b"eyJhbGciOiJub25lIn0",
        GOOD.encode(),
        b"-----BEGIN ",
    ]
)


@st.composite
def nearly(draw: st.DrawFn, name: str) -> bytes:
    """A seed with something cut out, put in or changed, up to four times."""
    data = bytearray(draw(st.sampled_from(SEEDS[name])))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 40)))
        data[at:end] = draw(st.one_of(PIECES, st.binary(max_size=4), st.just(bytes(data[at:end]) * 2)))
    return bytes(data)


@each
def test_the_seeds_do_no_harm(name: str) -> None:
    for data in SEEDS[name]:
        TARGETS[name](data)


@each
def test_what_the_fuzzer_kept_does_no_harm(name: str) -> None:
    kept = sorted((CORPUS / name).iterdir())
    assert kept
    for file in kept:
        TARGETS[name](file.read_bytes())


@each
@given(data=st.data())
def test_what_is_nearly_right_does_no_harm(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(nearly(name)))


@each
@given(pieces=st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=12))
def test_anything_at_all_does_no_harm(name: str, pieces: list[bytes]) -> None:
    TARGETS[name](b"".join(pieces))
