"""The patterns read what the parsers read, or leave it to them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import direct, message_id
from tidings_protocol.wire.body import EncodedBody
from tidings_protocol.wire.codec import JSON, PROTO, Codec
from tools.bench.users.frames import MARK_DIGITS, NUMBER_MAX, SENDER_MAX, marks
from tools.bench.users.scan import scanner

RUN = "bench-0a1b2c"
CODECS = pytest.mark.parametrize("codec", [PROTO, JSON], ids=["proto", "json"])

numbers = st.integers(0, NUMBER_MAX - 1)
big = st.one_of(st.integers(1, 300), st.integers(1, 2**63 - 1))
users = st.from_regex(r"[A-Za-z0-9._\-@:]{1,64}", fullmatch=True)
SENT: dict[str, Any] = {
    "number": numbers,
    "seq": big,
    "inbox": st.one_of(st.just(0), big),
    "request": big,
    "pair": st.tuples(users, users),
    "duplicate": st.booleans(),
}


def _entry(sender: str, other: str, seq: int, inbox: int, mark: int, filler: int, named: bool) -> pb.Entry:
    conversation = direct(sender, other)
    message = pb.Message(
        message_id=message_id(conversation, seq),
        conversation=conversation,
        seq=seq,
        sender=sender,
        time_ms=1_795_000_000_000 + seq % 10**9,
        content=pb.Content(text=f"{mark:016d}" + "x" * filler),
        kind=pb.Message.NORMAL,
        client_id=f"{RUN}-{mark % 10**10:010d}" if named else "",
    )
    return pb.Entry(number=inbox, message=message)


entries = st.builds(
    _entry,
    users,
    users,
    big,
    st.one_of(st.just(0), big),
    st.builds(lambda sender, number: marks(sender) + number, st.integers(0, SENDER_MAX - 1), numbers),
    st.integers(0, 300),
    st.booleans(),
)


def _delivered(codec: Codec, came: list[pb.Entry]) -> bytes:
    return codec.deliver([(entry.number, EncodedBody(pb.Message, entry.message.SerializeToString())) for entry in came])


@CODECS
@given(**SENT)
def test_a_sent_is_read_as_the_parser_reads_it(
    codec: Codec, number: int, seq: int, inbox: int, request: int, pair: tuple[str, str], duplicate: bool
) -> None:
    conversation = direct(*pair)
    data = codec.sent(
        request,
        client_id=f"{RUN}-{number:010d}",
        message_id=message_id(conversation, seq),
        conversation=conversation,
        seq=seq,
        time_ms=1_795_000_000_000,
        duplicate=duplicate,
        number=inbox,
    )
    scan = scanner(codec, RUN)
    assert scan.sent(data) == (number, seq, inbox)
    assert scan.entries(data) is None
    parsed = codec.decode_server(data).sent
    assert (int(parsed.client_id[-10:]), parsed.seq, parsed.number) == (number, seq, inbox)


@CODECS
@given(came=st.lists(entries, min_size=1, max_size=5))
def test_a_delivery_is_read_as_the_parser_reads_it(codec: Codec, came: list[pb.Entry]) -> None:
    data = _delivered(codec, came)
    scan = scanner(codec, RUN)
    parsed = codec.decode_server(data).deliver.entries
    assert scan.entries(data) == [
        (entry.number, entry.message.seq, int(entry.message.content.text[:MARK_DIGITS])) for entry in parsed
    ]
    assert scan.sent(data) is None


@given(entry=entries)
def test_a_delivery_whose_content_stands_last_is_read_too(entry: pb.Entry) -> None:
    message = entry.message
    content = pb.Message(content=message.content).SerializeToString()
    message.ClearField("content")
    body = EncodedBody(pb.Message, message.SerializeToString() + content)
    data = PROTO.deliver([(entry.number, body)])
    mark = int(pb.Message.FromString(content).content.text[:MARK_DIGITS])
    assert scanner(PROTO, RUN).entries(data) == [(entry.number, message.seq, mark)]


@CODECS
@given(
    came=st.lists(entries, min_size=1, max_size=5),
    request=big,
    place=st.tuples(st.one_of(st.just(0), big), st.one_of(st.just(0), big)),
    more=st.booleans(),
    truncated=st.booleans(),
)
def test_a_page_is_read_as_the_parser_reads_it(
    codec: Codec, came: list[pb.Entry], request: int, place: tuple[int, int], more: bool, truncated: bool
) -> None:
    page = pb.Page(entries=came, next=place[0], head=place[1], more=more, truncated=truncated)
    data = codec.encode_server(pb.ServerFrame(id=request, page=page))
    scan = scanner(codec, RUN)
    assert scan.page(data) == (
        request,
        [(each.number, each.message.seq, int(each.message.content.text[:MARK_DIGITS])) for each in came],
        more,
    )
    assert scan.sent(data) is None
    assert scan.entries(data) is None


@given(sender=st.integers(0, SENDER_MAX - 1), number=numbers, pair=st.tuples(users, users))
def test_a_signal_is_read_as_its_mark(sender: int, number: int, pair: tuple[str, str]) -> None:
    mark = marks(sender) + number
    signal = pb.Signal(conversation=direct(*pair), name="bench", data=b"%016d" % mark)
    setattr(signal, "from", pair[0])
    data = PROTO.encode_server(pb.ServerFrame(signal=signal))
    assert scanner(PROTO, RUN).signal(data) == mark
    assert scanner(JSON, RUN).signal(JSON.encode_server(pb.ServerFrame(signal=signal))) is None


@CODECS
def test_receipts_are_known_by_their_beginning(codec: Codec) -> None:
    scan = scanner(codec, RUN)
    assert codec.encode_server(pb.ServerFrame(receipt=pb.Receipt(user="ann"))).startswith(scan.skipped)
    assert not codec.encode_server(pb.ServerFrame(lagging=pb.Lagging())).startswith(scan.skipped)


@CODECS
@pytest.mark.parametrize(
    "more",
    [
        {"kind": pb.Message.SYSTEM},
        {"client_id": "someone-else"},
        {"content": pb.Content(text="hello")},
        {"content": pb.Content(headers={"a": "b"})},
        {"content": pb.Content(reply_to=3)},
        {"sender": "é"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_what_is_not_of_this_run_is_left_to_the_parser(codec: Codec, more: dict[str, Any]) -> None:
    usual = _entry("ann", "bob", 1, 1, 1, 10, named=True)
    odd = _entry("ann", "bob", 2, 2, 2, 10, named=True)
    odd.message.MergeFrom(pb.Message(**more))
    assert scanner(codec, RUN).entries(_delivered(codec, [usual, odd])) is None


@CODECS
@given(came=st.lists(entries, min_size=1, max_size=3), cut=st.integers(1, 40))
def test_a_frame_that_is_cut_or_continued_is_left_to_the_parser(codec: Codec, came: list[pb.Entry], cut: int) -> None:
    data = _delivered(codec, came)
    scan = scanner(codec, RUN)
    assert scan.entries(data + b"\x78") is None
    read = scan.entries(data[:-cut])
    # A cut may leave whole entries of protobuf: then they are read, and nothing that is not there.
    assert read is None or read == scan.entries(data)[: len(read)]  # type: ignore[index]


@CODECS
@given(data=st.binary(max_size=200))
def test_other_bytes_are_left_to_the_parser(codec: Codec, data: bytes) -> None:
    scan = scanner(codec, RUN)
    assert scan.sent(data) is None
    assert not scan.entries(data)
