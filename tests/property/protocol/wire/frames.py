"""Random frames and JSON documents, made from the descriptors, so that a new field is tested as soon as it is there."""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from tidings_protocol import client_pb2

M = TypeVar("M", bound=Message)

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(['": ', '" :', ":", "\\", '"', "d:alice|bob", "\x00", "\u2028", "é😀", '{"a":1}', "true", "1"]),
)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=12),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_UINT32: st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**32 - 1])),
    FieldDescriptor.TYPE_UINT64: st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**53 + 1, 2**64 - 1])),
    FieldDescriptor.TYPE_INT64: st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, -1, -(2**63)])),
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.TYPE_ENUM: st.one_of(st.integers(0, 4), st.sampled_from([7, -1, 2**31 - 1])),
}


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@st.composite
def messages(draw: st.DrawFn, kind: type[M]) -> M:
    """Any value of this message type."""
    message = kind()
    _draw_fields(draw, message)
    return message


def _draw_fields(draw: st.DrawFn, message: Message) -> None:
    choices = {
        choice.name: draw(st.sampled_from([field.name for field in choice.fields])) if draw(st.integers(0, 9)) else ""
        for choice in message.DESCRIPTOR.oneofs
    }
    field: Any
    for field in message.DESCRIPTOR.fields:
        choice = field.containing_oneof
        if choices[choice.name] != field.name if choice is not None else draw(st.booleans()):
            continue
        _draw_field(draw, message, field)


def _draw_field(draw: st.DrawFn, message: Message, field: FieldDescriptor) -> None:
    if is_map(field):
        assert field.message_type is not None
        values = SCALARS[field.message_type.fields_by_name["value"].type]
        target = getattr(message, field.name)
        for key, value in draw(st.dictionaries(TEXTS, values, max_size=3)).items():
            target[key] = value
    elif field.message_type is not None and field.is_repeated:
        for _ in range(draw(st.integers(0, 3))):
            _draw_fields(draw, getattr(message, field.name).add())
    elif field.message_type is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        _draw_fields(draw, inner)
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(SCALARS[field.type], max_size=3)))
    else:
        setattr(message, field.name, draw(SCALARS[field.type]))


def same(left: Message, right: Message) -> bool:
    """Equal as values, where NaN equals NaN."""
    return left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True)


# ---- documents that are nearly frames

ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.sampled_from([0, 1, 7, -1, 1.0, 1.5, 1e3, -0.0, 1e30, 2**63, 2**64, -(2**63), -(2**63) - 1, 3.5e38, 1e400]),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.sampled_from(
        ["", "1", "-1", "1.0", "1e3", "1.5", " 1", "1_0", "+1", "18446744073709551616", "WEB", "ADMIN", "web", "NaN"]
    ),
    st.sampled_from(["Infinity", "-Infinity", "nan", "inf", "YQ", "YQ==", "YQ=", "_-8", "+/8=", "a", "YR==", "!"]),
    st.just([]),
    st.just({}),
    st.lists(st.one_of(st.none(), st.integers(0, 3), TEXTS), max_size=2),
    st.dictionaries(st.sampled_from(["text", "users", "number", "a"]), st.one_of(st.integers(0, 3), TEXTS), max_size=2),
)
ODD_NAMES = st.sampled_from(
    ["id", "ping", "send", "bye", "text", "data", "txet", "reply_to", "replyTo", "user", "conversation", "before", ""]
)


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)


@st.composite
def documents(draw: st.DrawFn, kind: type[Message]) -> Any:
    """A JSON document of a frame in one of the ways to write it, mostly with one or two things wrong."""
    message = draw(messages(kind))
    document = json_format.MessageToDict(
        message,
        preserving_proto_field_name=draw(st.booleans()),
        use_integers_for_enums=draw(st.booleans()),
        unquote_int64_if_possible=draw(st.booleans()),
    )
    for _ in range(draw(st.integers(0, 2))):
        document = _mutated(draw, document)
    return document


def _mutated(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict):
        value = dict(value)
        match draw(st.integers(0, 5)):
            case 0:
                value[draw(ODD_NAMES)] = draw(ODD_VALUES)
            case 1 if value:
                name = draw(st.sampled_from(sorted(value)))
                value[_snake(name)] = value.pop(name) if draw(st.booleans()) else value[name]
            case 2:
                return draw(ODD_VALUES)
            case _ if value:
                name = draw(st.sampled_from(sorted(value)))
                value[name] = _mutated(draw, value[name])
        return value
    if isinstance(value, list) and value and draw(st.booleans()):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], _mutated(draw, value[index]), *value[index + 1 :]]
    return draw(ODD_VALUES)


SPACES = st.sampled_from(["", "", "", " ", "\n", "\t", "\r\n"])


@st.composite
def texts(draw: st.DrawFn, kind: type[Message]) -> str:
    """A document as text, with any spacing, and sometimes with a member twice."""
    spaced, doubling = draw(st.booleans()), draw(st.integers(0, 2)) == 0
    return _rendered(draw, draw(documents(kind)), spaced=spaced, doubling=doubling)


def _rendered(draw: st.DrawFn, value: Any, *, spaced: bool, doubling: bool) -> str:
    def space() -> str:
        return draw(SPACES) if spaced else ""

    def inner(item: Any) -> str:
        return _rendered(draw, item, spaced=spaced, doubling=doubling)

    if isinstance(value, dict):
        pairs = list(value.items())
        if doubling and pairs and draw(st.integers(0, 3)) == 0:
            pairs.insert(draw(st.integers(0, len(pairs))), draw(st.sampled_from(pairs)))
        shown = [f"{space()}{_string(draw, key)}{space()}:{space()}{inner(item)}{space()}" for key, item in pairs]
        return "{" + ",".join(shown) + "}"
    if isinstance(value, list):
        return "[" + ",".join(space() + inner(item) + space() for item in value) + "]"
    if isinstance(value, str):
        return _string(draw, value)
    return json.dumps(value)


def _string(draw: st.DrawFn, text: str) -> str:
    shown = json.dumps(text, ensure_ascii=draw(st.booleans()))
    # A colon may be written as an escape, which misleads a count of colons.
    return shown.replace(":", "\\u003a") if draw(st.integers(0, 4)) == 0 else shown


# ---- where the codec is stricter than json_format, said a second time and independently


def is_stricter(document: Any, descriptor: Descriptor) -> bool:
    """Whether the document holds something that json_format takes and the codec refuses on purpose."""
    if not isinstance(document, dict):
        return isinstance(document, list | str)
    names = [field.name for field in descriptor.fields if field.name != field.json_name]
    jsons = {field.name: field.json_name for field in descriptor.fields}
    if any(name in document and jsons[name] in document for name in names):
        return True
    fields = {**descriptor.fields_by_name, **{field.json_name: field for field in descriptor.fields}}
    for name, value in document.items():
        field = fields.get(name)
        if field is None or value is None or is_map(field):
            continue
        items = value if field.is_repeated and isinstance(value, list) else [value]
        if any(_is_stricter_value(item, field) for item in items):
            return True
    return False


def _is_stricter_value(value: Any, field: FieldDescriptor) -> bool:
    if field.message_type is not None:
        return is_stricter(value, field.message_type)
    match field.type:
        case FieldDescriptor.TYPE_BYTES:
            return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9+/_-]*=*", value) is None
        case FieldDescriptor.TYPE_ENUM:
            return isinstance(value, bool) or (isinstance(value, float) and not value.is_integer())
        case FieldDescriptor.TYPE_FLOAT:
            return isinstance(value, bool)
        case _:
            return False


def holds_no_number(document: Any) -> bool:
    """Whether NaN or Infinity stand in it without quotes, which Python takes for JSON."""
    if isinstance(document, dict):
        return any(map(holds_no_number, document.values()))
    if isinstance(document, list):
        return any(map(holds_no_number, document))
    return isinstance(document, float) and not math.isfinite(document)


CLIENT_FRAMES = messages(client_pb2.ClientFrame)
SERVER_FRAMES = messages(client_pb2.ServerFrame)
