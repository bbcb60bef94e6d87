"""Protobuf messages as JSON values, in the canonical mapping, on tables made once from the descriptors.

Guarantees: equal to `google.protobuf.json_format.MessageToDict` once encoded: lowerCamelCase, 64-bit numbers as
strings, enum names, base64, defaults left out unless the field has presence.

Does not know: frames, connections.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from struct import pack
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from tidings_protocol.wire.json.text import write

Convert = Callable[[Any], Any]


def json_bytes(message: Message) -> bytes:
    """The message as a compact JSON document."""
    return write(json_value(message))


def json_value(message: Message) -> dict[str, Any]:
    """The message as a dict of JSON values; `bytes` stand in it as they are, to become base64 when encoded."""
    fields = _table(message.DESCRIPTOR)
    document: dict[str, Any] = {}
    for field, value in message.ListFields():
        name, convert = fields[field.number]
        document[name] = value if convert is None else convert(value)
    return document


@cache
def _table(descriptor: Descriptor) -> dict[int, tuple[str, Convert | None]]:
    return {field.number: (field.json_name, _converter(field)) for field in descriptor.fields}


def _converter(field: FieldDescriptor) -> Convert | None:
    """None: the value goes as it is."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _of_map(field)
    single = json_value if field.message_type is not None else _of_scalar(field)
    if not field.is_repeated:
        return single
    return list if single is None else lambda values: list(map(single, values))


def _of_map(field: FieldDescriptor) -> Convert:
    assert field.message_type is not None
    key_field = field.message_type.fields_by_name["key"]
    value_field = field.message_type.fields_by_name["value"]
    if key_field.type != FieldDescriptor.TYPE_STRING or value_field.message_type is not None:
        raise TypeError(f"{field.full_name}: only maps from strings to scalars are in the tables; add the kind")
    single = _of_scalar(value_field)
    return dict if single is None else lambda entries: {key: single(value) for key, value in entries.items()}


def _of_scalar(field: FieldDescriptor) -> Convert | None:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_INT64 | FieldDescriptor.CPPTYPE_UINT64:
            return str
        case FieldDescriptor.CPPTYPE_ENUM:
            return _enum(field.enum_type)
        case FieldDescriptor.CPPTYPE_FLOAT:
            return _float32
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return _float64
        case _:
            return None


def _enum(descriptor: EnumDescriptor | None) -> Convert:
    assert descriptor is not None
    names = {number: value.name for number, value in descriptor.values_by_number.items()}
    return lambda number: names.get(number, number)


def _float64(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _float32(value: float) -> float | str:
    """The shortest decimal that is read as the same 32 bits."""
    if not math.isfinite(value):
        return _float64(value)
    wanted = pack("<f", value)
    for digits in range(6, 10):
        short = float(f"{value:.{digits}g}")
        if _packs_to(short, wanted):
            return short
    return value


def _packs_to(value: float, wanted: bytes) -> bool:
    try:
        return pack("<f", value) == wanted
    except OverflowError:
        return False
