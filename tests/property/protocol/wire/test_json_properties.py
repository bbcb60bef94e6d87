"""The JSON codec and google.protobuf.json_format take and give the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import example, given
from hypothesis import strategies as st

from tests.property.protocol.wire.frames import CLIENT_FRAMES, SERVER_FRAMES, holds_no_number, is_stricter, same, texts
from tests.support.network.codecs import JSONS
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadFrame, Unparsable
from tidings_protocol.wire.codec import Codec

EACH = pytest.mark.parametrize("codec", JSONS.values(), ids=JSONS)
Frame = client_pb2.ClientFrame | client_pb2.ServerFrame
STYLES = st.fixed_dictionaries(
    {
        "preserving_proto_field_name": st.booleans(),
        "use_integers_for_enums": st.booleans(),
        "unquote_int64_if_possible": st.booleans(),
        "ensure_ascii": st.booleans(),
        "indent": st.sampled_from([None, 1]),
    }
)


@EACH
@given(SERVER_FRAMES)
def test_a_server_frame_is_written_as_json_format_writes_it(codec: Codec, frame: client_pb2.ServerFrame) -> None:
    assert json.loads(codec.encode_server(frame)) == json_format.MessageToDict(frame)


@EACH
@given(CLIENT_FRAMES)
def test_a_client_frame_is_written_as_json_format_writes_it(codec: Codec, frame: client_pb2.ClientFrame) -> None:
    assert json.loads(codec.encode_client(frame)) == json_format.MessageToDict(frame)


@EACH
@given(CLIENT_FRAMES, STYLES)
def test_a_client_frame_is_read_however_json_format_writes_it(
    codec: Codec, frame: client_pb2.ClientFrame, style: dict[str, Any]
) -> None:
    text = json_format.MessageToJson(frame, **style).encode()

    if frame.WhichOneof("body") is not None:
        assert same(codec.decode_client(text), frame)
        return
    with pytest.raises(BadFrame) as refusal:
        codec.decode_client(text)
    assert refusal.value.request_id == frame.id


@EACH
@given(SERVER_FRAMES, STYLES)
def test_a_server_frame_is_read_however_json_format_writes_it(
    codec: Codec, frame: client_pb2.ServerFrame, style: dict[str, Any]
) -> None:
    assert same(codec.decode_server(json_format.MessageToJson(frame, **style).encode()), frame)


@EACH
@given(SERVER_FRAMES)
def test_what_the_codec_writes_json_format_reads_as_the_same_value(codec: Codec, frame: client_pb2.ServerFrame) -> None:
    assert same(json_format.Parse(codec.encode_server(frame), client_pb2.ServerFrame()), frame)


@EACH
@given(texts(client_pb2.ClientFrame))
@example('{"send":{"content":{"text":"\\u003a","text":"a:"}}}')
@example('{"ping":{},"id":-9223372036854775809}')
@example('{"ping":{"idle":true},"send":null}')
@example('{"ping":null,"ping":{}}')
@example('{"hello":{"groupCursors":{"g:a":"1","g:a":"1"}}}')
@example('{"hello":{"avoid":["a",null]}}')
@example('{"send":{"content":{"text":"\\ud800"}}}')
@example('{"send":{"content":{"headers":{"\\ud800":"x"}}}}')
@example('{"hello":{"kind":"1"}}')
@example('{"history":{"before":"0"}}')
@example('{"group":{"setRole":{"role":"ADMIN"}}}')
def test_a_client_document_is_taken_if_and_only_if_json_format_takes_it(codec: Codec, text: str) -> None:
    _agree(codec, text, strict=True)


@EACH
@given(texts(client_pb2.ServerFrame))
@example('{"welcome":{"backoff":{"factor":true}}}')
@example('{"welcome":{"backoff":{"factor":"1e39"}}}')
@example('{"welcome":{"backoff":{"factor":3.5e38}}}')
@example('{"new":{"a":1,"a":2}}')
@example('{"groupInfo":{"role":"EMPEROR"}}')
def test_a_server_document_is_taken_if_and_only_if_json_format_takes_it_passing_over_unknown_fields(
    codec: Codec, text: str
) -> None:
    _agree(codec, text, strict=False)


@EACH
@given(texts(client_pb2.ClientFrame), st.data())
def test_a_document_with_one_character_changed_is_taken_if_and_only_if_json_format_takes_it(
    codec: Codec, text: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(text) - 1)) if text else 0
    piece = data.draw(st.sampled_from(["", '"', ":", ",", "{", "}", "[", "]", "\\", "0", "\x01", "e", "\ufeff", "N"]))
    _agree(codec, text[:place] + piece + text[place + 1 :], strict=True)


@given(texts(client_pb2.ClientFrame))
def test_with_and_without_msgspec_the_same_is_taken_and_refused(text: str) -> None:
    # Of two mistakes in one document, each may name another.
    said: list[client_pb2.ClientFrame | type[BadFrame]] = []
    for codec in JSONS.values():
        try:
            said.append(codec.decode_client(text))
        except BadFrame as error:
            said.append(type(error))
    assert said[0] == said[1]


def _agree(codec: Codec, text: str, *, strict: bool) -> None:
    kind = client_pb2.ClientFrame if strict else client_pb2.ServerFrame
    theirs = _by_json_format(text, kind(), strict=strict)
    ours = _by_codec(codec, text, strict=strict)
    if ours is not None:
        assert theirs is not None, "the codec took what json_format refuses"
        assert same(ours, theirs)
    elif theirs is not None:
        document = json.loads(text)
        assert is_stricter(document, kind.DESCRIPTOR) or holds_no_number(document), "json_format takes this"


def _by_json_format(text: str, frame: Frame, *, strict: bool) -> Frame | None:
    try:
        json_format.Parse(text, frame, ignore_unknown_fields=not strict)
    except (json_format.ParseError, UnicodeError):
        return None
    return frame


def _by_codec(codec: Codec, text: str, *, strict: bool) -> Frame | None:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return None
    try:
        return codec.decode_client(data) if strict else codec.decode_server(data)
    except Unparsable:
        return None
    except BadFrame as error:
        # A frame without a body is no question of codec.
        return client_pb2.ClientFrame(id=error.request_id) if error.field == "body" else None
