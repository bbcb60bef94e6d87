"""What each codec says to what it refuses, and how a connection gets its codec."""

from __future__ import annotations

import json

import pytest

from tests.support.network.codecs import ALL, JSONS
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadFrame, BadRequest, Unparsable
from tidings_protocol.wire.body import EncodedBody, message_bytes
from tidings_protocol.wire.codec import JSON, PROTO, Codec, negotiate, offers

EACH = pytest.mark.parametrize("codec", ALL.values(), ids=ALL)
EACH_JSON = pytest.mark.parametrize("codec", JSONS.values(), ids=JSONS)
SEND = client_pb2.ClientFrame(
    id=7, send=client_pb2.Send(client_id="c1", user="bob", content=client_pb2.Content(text="hi: there"))
)


# ---- each


@EACH
def test_a_frame_comes_back_as_it_went(codec: Codec) -> None:
    assert codec.decode_client(codec.encode_client(SEND)) == SEND


@EACH
@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_read(codec: Codec, wrap: type[bytes]) -> None:
    assert codec.decode_client(wrap(codec.encode_client(SEND))) == SEND


@EACH
def test_a_frame_without_a_body_is_bad_and_its_id_comes_back(codec: Codec) -> None:
    with pytest.raises(BadFrame, match="give one of hello, ping") as refusal:
        codec.decode_client(codec.encode_client(client_pb2.ClientFrame(id=9)))

    assert not isinstance(refusal.value, Unparsable)
    assert (refusal.value.request_id, refusal.value.field) == (9, "body")


@EACH
def test_a_body_without_fields_is_a_body(codec: Codec) -> None:
    bye = client_pb2.ClientFrame(bye=client_pb2.Bye())

    assert codec.decode_client(codec.encode_client(bye)).WhichOneof("body") == "bye"


@EACH
@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x00", b"hello", b"\x62\x03\x0a\x01\xff"])
def test_garbage_is_no_frame_at_all(codec: Codec, garbage: bytes) -> None:
    with pytest.raises(Unparsable):
        codec.decode_client(garbage)


@EACH
def test_what_is_empty_but_present_stays_present(codec: Codec) -> None:
    frame = client_pb2.ClientFrame(
        history=client_pb2.History(conversation="g:a", after=0),
    )

    read = codec.decode_client(codec.encode_client(frame)).history
    assert read.HasField("after")
    assert not read.HasField("before")


@EACH
def test_a_body_that_no_frame_has_is_not_pushed(codec: Codec) -> None:
    with pytest.raises(KeyError):
        codec.push(EncodedBody.of(client_pb2.Content(text="x")))


@EACH
def test_sent_without_a_single_field_is_still_sent(codec: Codec) -> None:
    encoded = codec.sent(0, client_id="", message_id="", conversation="", seq=0, time_ms=0, duplicate=False, number=0)

    assert codec.decode_server(encoded).WhichOneof("body") == "sent"


@EACH
def test_a_reply_without_an_id_has_none(codec: Codec) -> None:
    frame = client_pb2.ServerFrame(ok=client_pb2.Ok()).SerializeToString()

    assert codec.decode_server(codec.reply(0, frame)) == client_pb2.ServerFrame(ok=client_pb2.Ok())


def test_the_json_of_a_body_is_made_once() -> None:
    body = EncodedBody.of(client_pb2.Message(conversation="g:a"))

    assert body.json is body.json
    assert body.size == len(body.proto)


def test_a_message_with_empty_content_still_has_content() -> None:
    encoded = message_bytes(
        conversation="g:a", seq=1, message_id="m", sender="a", time_ms=1, content=b"", kind=1, client_id="c", ordinal=1
    )

    assert client_pb2.Message.FromString(encoded).HasField("content")


# ---- protobuf


def test_unknown_fields_in_protobuf_are_passed_over() -> None:
    unknown = b"\xfa\x7f\x03abc"  # field 2047

    assert PROTO.decode_client(SEND.SerializeToString() + unknown).send.client_id == "c1"


def test_a_body_of_a_newer_version_is_a_frame_without_a_body() -> None:
    with pytest.raises(BadFrame) as refusal:
        PROTO.decode_client(b"\x08\x05\xfa\x7f\x00")

    assert refusal.value.request_id == 5


def test_text_on_a_protobuf_connection_is_no_frame() -> None:
    with pytest.raises(Unparsable, match="binary"):
        PROTO.decode_client('{"ping":{}}')


@EACH
def test_a_server_frame_of_a_newer_version_is_read_without_its_body(codec: Codec) -> None:
    newer = {PROTO.subprotocol: b"\x08\x05\xfa\x7f\x00", JSON.subprotocol: b'{"id":"5","newThing":{"a":[1,{"b":2}]}}'}

    frame = codec.decode_server(newer[codec.subprotocol])

    assert (frame.id, frame.WhichOneof("body")) == (5, None)


# ---- JSON


@EACH_JSON
@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ('{"id":"3","sned":{}}', "sned", "not a field"),
        ('{"id":"3","send":{"content":{"txet":"x"}}}', "send.content.txet", "not a field"),
        ('{"id":"3","send":{"clientId":5}}', "send.clientId", "needs a string, not the number 5"),
        ('{"id":"3","ack":{"number":-1}}', "ack.number", "0 to 18446744073709551615"),
        ('{"id":"3","ack":{"number":18446744073709551616}}', "ack.number", "whole number"),
        ('{"id":"3","ack":{"number":1.5}}', "ack.number", "whole number"),
        ('{"id":"3","ack":{"number":true}}', "ack.number", "not true"),
        ('{"id":"3","ack":{"number":"many"}}', "ack.number", "whole number"),
        ('{"id":"3","ack":{"number":1e999}}', "ack.number", "whole number"),
        ('{"id":"3","sync":{"limit":4294967296}}', "sync.limit", "4294967295"),
        ('{"id":"3","ping":{"idle":"true"}}', "ping.idle", "true or false"),
        ('{"id":"3","ping":[]}', "ping", "needs an object, not an array"),
        ('{"id":"3","hello":{"kind":"web"}}', "hello.kind", "WEB, MOBILE"),
        ('{"id":"3","hello":{"kind":true}}', "hello.kind", "WEB, MOBILE"),
        ('{"id":"3","hello":{"avoid":"a"}}', "hello.avoid", "needs an array"),
        ('{"id":"3","hello":{"avoid":["a",7]}}', "hello.avoid.1", "needs a string"),
        ('{"id":"3","hello":{"groupCursors":{"g:a":null}}}', "hello.groupCursors.g:a", "not null"),
        ('{"id":"3","send":{"content":{"headers":{"a":1}}}}', "send.content.headers.a", "needs a string"),
        ('{"id":"3","send":{"content":{"data":"%%%"}}}', "send.content.data", "base64"),
        ('{"id":"3","send":{"content":{"text":"\\ud83d"}}}', "send.content.text", "surrogate"),
        ('{"id":"3","send":{"content":{"text":"a","text":"b"}}}', "send.content.text", "twice"),
        ('{"id":"3","ping":{},"ping":{}}', "ping", "twice"),
        ('{"id":"3","ping":{},"bye":{}}', "bye", "same choice"),
        ('{"id":"3","send":{"user":"a","conversation":"g:a"}}', "send.conversation", "same choice"),
        ('{"id":"3","send":{"clientId":"a","client_id":"a"}}', "send.client_id", "both spellings"),
        ('{"id":"3","hello":{"groupCursors":{"g:a":1,"g:a":1}}}', "hello.groupCursors.g:a", "twice"),
    ],
)
def test_a_wrong_field_is_named_with_its_path_and_the_id_comes_back(
    codec: Codec, text: str, field: str, words: str
) -> None:
    with pytest.raises(BadFrame) as refusal:
        codec.decode_client(text.encode())

    assert not isinstance(refusal.value, Unparsable)
    assert refusal.value.field == field
    assert refusal.value.message.startswith(f"`{field}` ")
    assert words in refusal.value.message
    assert refusal.value.request_id == 3


@EACH_JSON
@pytest.mark.parametrize("text", ['{"id":"x","ping":{}}', '{"id":1,"id":2,"ping":{}}', '{"id":-1,"ping":{}}'])
def test_an_id_that_cannot_be_read_does_not_come_back(codec: Codec, text: str) -> None:
    with pytest.raises(BadFrame, match="`id`") as refusal:
        codec.decode_client(text.encode())

    assert refusal.value.request_id == 0


@EACH_JSON
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        b'{"ping":{}',
        b'{"ping":{}} {}',
        b"[]",
        b'"ping"',
        b"null",
        b"1",
        b'{"ping":{"idle":NaN}}',
        b'{"ping":\xff}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        '{"ping":{}}'.encode("utf-16"),
    ],
)
def test_what_is_no_json_object_is_no_frame_at_all(codec: Codec, text: bytes) -> None:
    with pytest.raises(Unparsable):
        codec.decode_client(text)


@EACH_JSON
@pytest.mark.parametrize(
    "text",
    [
        '{"id":"7","send":{"clientId":"c1","user":"bob","content":{"text":"hi: there"}}}',
        '{"id":7,"send":{"client_id":"c1","user":"bob","content":{"text":"hi: there"}}}',
        '{ "id" : 7.0 , "send" :\n{"client_id"\t:"c1","user":"bob","content":{"text":"hi\\u003a there"}}}',
        '{"send":{"content":{"text":"hi: there","data":null},"user":"bob","clientId":"c1"},"id":"7","ping":null}',
    ],
)
def test_every_way_to_write_a_frame_is_read(codec: Codec, text: str) -> None:
    assert codec.decode_client(text.encode()) == SEND
    assert codec.decode_client(text) == SEND


@EACH_JSON
@pytest.mark.parametrize("written", ["+/8=", "-_8=", "+/8", "-_8", "-/8"])
def test_bytes_are_read_from_both_alphabets_with_or_without_padding(codec: Codec, written: str) -> None:
    frame = codec.decode_client(f'{{"send":{{"content":{{"data":"{written}"}}}}}}')

    assert frame.send.content.data == b"\xfb\xff"


@EACH_JSON
def test_text_that_looks_like_members_is_still_text(codec: Codec) -> None:
    text = '{"text": "a", "text" : "b"}' * 20
    frame = client_pb2.ClientFrame(id=1, send=client_pb2.Send(content=client_pb2.Content(text=text)))

    assert codec.decode_client(codec.encode_client(frame)) == frame


@EACH_JSON
def test_numbers_of_64_bits_are_written_as_strings_and_defaults_are_left_out(codec: Codec) -> None:
    frame = client_pb2.ServerFrame(pong=client_pb2.Pong(inbox_head=2**63, group_heads={"g:a": 2**64 - 1}))

    assert json.loads(codec.encode_server(frame)) == {
        "pong": {"inboxHead": "9223372036854775808", "groupHeads": {"g:a": "18446744073709551615"}}
    }


@EACH_JSON
def test_a_name_that_is_hostile_is_shown_short_and_clean(codec: Codec) -> None:
    with pytest.raises(BadFrame) as refusal:
        codec.decode_client(json.dumps({"\ud800" + "x" * 10_000: 1}))

    assert len(refusal.value.message) < 200
    refusal.value.message.encode()


# ---- negotiation


def test_the_first_known_subprotocol_is_taken() -> None:
    assert negotiate(["chat", "tidings.v1.json", "tidings.v1.proto"]) is JSON
    assert negotiate(offers("tidings.v9, tidings.v1.proto ,tidings.v1.json")) is PROTO


@pytest.mark.parametrize("header", [None, "", " , "])
def test_without_an_offer_it_is_json(header: str | None) -> None:
    assert negotiate(offers(header)) is JSON


def test_only_unknown_subprotocols_are_refused_with_the_known_ones() -> None:
    with pytest.raises(BadRequest, match=r"tidings\.v1\.proto, tidings\.v1\.json"):
        negotiate(["mqtt"])
