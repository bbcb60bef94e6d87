"""Reads the frames that a load consists of (`sent`, `deliver`, `page`, `signal`) with patterns, not a parser. Pure.

Guarantees: it gives what protobuf (or JSON) gives, or None: whatever is not exactly as the servers write it, or does
not carry messages of this run, is left to the parser. `tests/unit/tools/bench/users/test_scan.py` holds that.

Measured, of a `sent` and of a `deliver` with one entry: 0.8 and 2.7 µs, against 4.2 and 11.8 µs by protobuf's own
parser and the attributes of its messages, and 1.0 and 6.1 µs by a scanner in Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from tidings_protocol.wire.codec import JSON, Codec
from tools.bench.users.frames import FILLER, MARK_DIGITS, NUMBER_DIGITS

Sent = tuple[int, int, int]  # number, seq, inbox number
Entry = tuple[int, int, int]  # inbox number, seq, mark

_VARINT = rb"[\x80-\xff]*[\x00-\x7f]"
_KEPT = rb"(" + _VARINT + rb")"
_NAME = rb"[0-9A-Za-z._@:\-]*"
_CONVERSATION = rb"[0-9A-Za-z._@:|\-]*"
_CACHED_BYTES_MAX = 2  # longer varints are not kept: there are too many


class Page(NamedTuple):
    request: int
    entries: list[Entry]
    more: bool


class Scanner(NamedTuple):
    """The first four take the payload of a frame; None: this is for the parser. `signal` gives the mark."""

    sent: Callable[[bytes], Sent | None]
    entries: Callable[[bytes], list[Entry] | None]
    page: Callable[[bytes], Page | None]
    signal: Callable[[bytes], int | None]
    skipped: bytes  # how frames begin that nobody needs to read: receipts


def scanner(codec: Codec, run: str) -> Scanner:
    """A scanner for messages whose client ids are of this run."""
    name = re.escape(run.encode())
    if codec is JSON:
        return _scanner(_json_patterns(name), _digits)
    return _scanner(_proto_patterns(name), _Varints().__getitem__)


class _Patterns(NamedTuple):
    """Groups of `sent`: number, seq, inbox number; of `entry`: inbox number, seq, mark; of `page`: the request's id;
    of `page_end`: whether there is more. Numbers and marks are digits, the others as the codec writes them; an inbox
    number may be missing."""

    sent: re.Pattern[bytes]
    begin: re.Pattern[bytes]
    entry: re.Pattern[bytes]
    end: re.Pattern[bytes]
    page: re.Pattern[bytes]
    page_end: re.Pattern[bytes]
    signal: re.Pattern[bytes]
    skipped: bytes


def _scanner(patterns: _Patterns, value: Callable[[bytes], int]) -> Scanner:
    match_sent = patterns.sent.fullmatch
    match_begin = patterns.begin.match
    match_entry = patterns.entry.match
    match_end = patterns.end.fullmatch

    def sent(data: bytes) -> Sent | None:
        found = match_sent(data)
        if found is None:
            return None
        number, seq, inbox = found.groups()
        return int(number), value(seq), value(inbox) if inbox else 0

    def read(data: bytes, place: int) -> tuple[list[Entry], int]:
        came: list[Entry] = []
        while found := match_entry(data, place):
            inbox, seq, mark = found.groups()
            came.append((value(inbox) if inbox else 0, value(seq), int(mark)))
            place = found.end()
        return came, place

    last: tuple[bytes, list[Entry] | None] = (b"", None)

    def entries(data: bytes) -> list[Entry] | None:
        nonlocal last
        if data == last[0]:  # a frame to a large group is the same for all: it is read once
            return last[1]
        found = match_begin(data)
        if found is None:
            return None
        came, place = read(data, found.end())
        told = came if came and match_end(data, place) else None
        last = (data, told)
        return told

    def page(data: bytes) -> Page | None:
        found = patterns.page.match(data)
        if found is None:
            return None
        came, place = read(data, found.end())
        end = patterns.page_end.fullmatch(data, place)
        return Page(value(found[1]), came, bool(end[1])) if end else None

    def signal(data: bytes) -> int | None:
        found = patterns.signal.fullmatch(data)
        return int(found[1]) if found else None

    return Scanner(sent, entries, page, signal, patterns.skipped)


def _proto_patterns(run: bytes) -> _Patterns:
    client_id = run + rb"-([0-9]{%d})" % NUMBER_DIGITS
    named = rb"(?:\x38\x01)?(?:\x42[\x01-\x40]" + client_id.replace(b"(", b"(?:") + rb")?"
    # Servers write the content last, as they have it encoded; a parser would write it before the kind.
    message = (
        rb"\x0a\x18[0-9a-f]{24}\x12" + _VARINT + _CONVERSATION + rb"\x18" + _KEPT + rb"\x22[\x01-\x40]" + _NAME
        + rb"\x28" + _VARINT + named + rb"\x32" + _VARINT + rb"\x0a" + _VARINT
        + rb"([0-9]{%d})%b*" % (MARK_DIGITS, FILLER.encode()) + named
    )  # fmt: skip
    return _Patterns(
        sent=_compiled(
            rb"\x08" + _VARINT + rb"\x62" + _VARINT + rb"\x0a[\x01-\x40]" + client_id + rb"\x12\x18[0-9a-f]{24}"
            + rb"\x1a" + _VARINT + _CONVERSATION + rb"\x20" + _KEPT + rb"\x28" + _VARINT
            + rb"(?:\x30\x01)?(?:\x38" + _KEPT + rb")?"
        ),
        begin=_compiled(rb"\x6a" + _VARINT),
        entry=_compiled(rb"\x0a" + _VARINT + rb"(?:\x08" + _KEPT + rb")?\x12" + _VARINT + message),
        end=_compiled(rb""),
        page=_compiled(rb"\x08" + _KEPT + rb"\x72" + _VARINT),
        page_end=_compiled(
            rb"(?:\x10" + _VARINT + rb")?(?:\x18" + _VARINT + rb")?(\x20\x01)?(?:\x28\x01)?"
        ),
        signal=_compiled(
            rb"\x9a\x01" + _VARINT + rb"\x12" + _VARINT + _CONVERSATION + rb"\x1a\x05bench\x22\x10([0-9]{%d})"
            % MARK_DIGITS + rb"\x2a[\x01-\x40]" + _NAME
        ),
        skipped=b"\x7a",
    )  # fmt: skip


def _json_patterns(run: bytes) -> _Patterns:
    client_id = run + rb"-([0-9]{%d})" % NUMBER_DIGITS
    message = (
        rb'\{"messageId":"[0-9a-f]{24}","conversation":"' + _CONVERSATION + rb'","seq":"([0-9]+)","sender":"' + _NAME
        + rb'","timeMs":"[0-9]+","content":\{"text":"([0-9]{%d})%b*"\}' % (MARK_DIGITS, FILLER.encode())
        + rb'(?:,"kind":"NORMAL")?(?:,"clientId":"' + client_id.replace(b"(", b"(?:") + rb'")?\}'
    )  # fmt: skip
    return _Patterns(
        sent=_compiled(
            rb'\{"id":"[0-9]+","sent":\{"clientId":"' + client_id + rb'","messageId":"[0-9a-f]{24}","conversation":"'
            + _CONVERSATION + rb'","seq":"([0-9]+)","timeMs":"[0-9]+"'
            + rb'(?:,"duplicate":true)?(?:,"number":"([0-9]+)")?\}\}'
        ),
        begin=_compiled(rb'\{"deliver":\{"entries":\['),
        entry=_compiled(rb',?\{(?:"number":"([0-9]+)",)?"message":' + message + rb"\}"),
        end=_compiled(rb"\]\}\}"),
        page=_compiled(rb'\{"id":"([0-9]+)","page":\{"entries":\['),
        page_end=_compiled(
            rb'\](?:,"next":"[0-9]+")?(?:,"head":"[0-9]+")?(,"more":true)?(?:,"truncated":true)?\}\}'
        ),
        signal=_compiled(rb"(?!)()"),  # its data is base64: that is for the parser
        skipped=b'{"receipt":',
    )  # fmt: skip


def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


def _digits(text: bytes) -> int:
    return int(text)


class _Varints(dict[bytes, int]):
    """What varints are worth; the short ones are read once."""

    def __missing__(self, raw: bytes) -> int:
        number = 0
        for place, byte in enumerate(raw):
            number |= (byte & 0x7F) << 7 * place
        if len(raw) <= _CACHED_BYTES_MAX:
            self[raw] = number
        return number
