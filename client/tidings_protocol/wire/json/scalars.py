"""Single JSON values as protobuf takes them, and the words for what it does not take.

Guarantees: a converter raises TypeError or ValueError for what it refuses; ranges of numbers are left to protobuf,
which checks them when the field is set.

Does not know: messages, paths.
"""

from __future__ import annotations

import math
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

Convert = Callable[[Any], Any]

FLOAT32_MAX: Final = (2 - 2**-23) * 2.0**127


class Passed(Exception):
    """An enum name of a newer version, where unknown things are passed over."""


_INTEGERS = frozenset(
    {
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT32,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED32,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED32,
        FieldDescriptor.TYPE_SFIXED64,
    }
)


def converter_of(field: FieldDescriptor, strict: bool) -> Convert:
    if field.type in _INTEGERS:
        return _integer
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _string
        case FieldDescriptor.TYPE_BYTES:
            return _bytes
        case FieldDescriptor.TYPE_BOOL:
            return _bool
        case FieldDescriptor.TYPE_FLOAT:
            return _float32
        case FieldDescriptor.TYPE_DOUBLE:
            return _float64
        case FieldDescriptor.TYPE_ENUM:
            return _enum(field.enum_type, strict)
        case _:
            raise TypeError(f"{field.full_name}: its kind is not in the tables; add it")


def _integer(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is float:
        if not value.is_integer():
            raise ValueError
        return int(value)
    if type(value) is not str:
        raise TypeError
    if " " in value:
        raise ValueError
    try:
        return int(value)
    except ValueError:
        number = float(value)  # such as "1e3"
        if not number.is_integer():
            raise
        return int(number)


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _bool(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


_is_base64 = re.compile(r"[A-Za-z0-9+/_-]*=*").fullmatch
_URL_SAFE = str.maketrans("-_", "+/")


def _bytes(value: Any) -> bytes:
    if type(value) is not str:
        raise TypeError
    try:
        return a2b_base64(value, strict_mode=True)
    except Base64Error:
        if _is_base64(value) is None:
            raise
    digits = value.translate(_URL_SAFE).rstrip("=")
    return a2b_base64(digits + "=" * (-len(digits) % 4))


def _float64(value: Any) -> float:
    if type(value) is bool:
        raise TypeError
    if type(value) is float and not math.isfinite(value):
        raise ValueError
    if value == "nan":
        raise ValueError
    return float(value)  # takes "NaN" and "Infinity" too


def _float32(value: Any) -> float:
    if type(value) is float and abs(value) > FLOAT32_MAX:
        raise ValueError
    return _float64(value)


def _enum(descriptor: EnumDescriptor | None, strict: bool) -> Convert:
    assert descriptor is not None
    numbers = {name: value.number for name, value in descriptor.values_by_name.items()}

    def convert(value: Any) -> int:
        if type(value) is str:
            number = numbers.get(value)
            if number is not None:
                return number
            try:
                return int(value)
            except ValueError:
                if strict:
                    raise
                raise Passed from None
        if type(value) is float and value.is_integer():
            return int(value)
        if type(value) is not int:
            raise TypeError
        return value

    return convert


# ---- what to say


_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: "a whole number from -2147483648 to 2147483647",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number from 0 to 4294967295",
    FieldDescriptor.CPPTYPE_INT64: "a whole number from -9223372036854775808 to 9223372036854775807",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number from 0 to 18446744073709551615",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "a string",
}


def wanted_for(field: FieldDescriptor) -> str:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "a string of base64"
    if field.enum_type is not None:
        return "one of " + ", ".join(field.enum_type.values_by_name)
    return _RANGES[field.cpp_type]


def named(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {clipped(repr(value))}" if not _is_long(value) else "a number of that size"
        case str():
            return f"the string {clipped(value)!a}"
        case list():
            return "an array"
        case _:
            return "an object"


def _is_long(value: float) -> bool:
    return isinstance(value, int) and value.bit_length() > 256


def clipped(text: str) -> str:
    """What a client wrote, short enough for a message and without what no encoding can carry."""
    clean = text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= 40 else clean[:40] + "..."
