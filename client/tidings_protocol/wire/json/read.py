"""JSON documents into protobuf messages, on tables made once from the descriptors.

Guarantees: takes what `google.protobuf.json_format` takes, and refuses what it refuses, except that this is stricter
where taking it would hide a client's mistake:

- a field given in both spellings (`replyTo` and `reply_to`) is doubled, and refused;
- base64 with characters that are not base64 is refused (the library skips them);
- an array or a string where an object is needed is refused (the library takes an empty one as an empty object);
- `true` as an enum, or as a float, and a fraction as an enum, are refused (the library takes them as numbers);
- `NaN` and `Infinity` without quotes, which are not JSON, are refused even in a field that is passed over.

A refusal names the field by its path as the client wrote it.

Does not know: bytes and text (text.py), which documents are whole frames.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from tidings_protocol.wire.json.scalars import Passed, clipped, converter_of, named, wanted_for
from tidings_protocol.wire.json.text import Doubled

# Sets one field from one JSON value; returns how many members (of objects) there were in the value.
Put = Callable[[Message, Any], int]


class Malformed(Exception):
    """Why a document is not the message: the path to the field, outermost first, and what is wrong there."""

    def __init__(self, reason: str, *path: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = list(path)


class Reader:
    """Reads the objects of one message type. `strict` refuses unknown fields, otherwise they are passed over."""

    __slots__ = ("_fields", "_strict")

    def __init__(self, descriptor: Descriptor, *, strict: bool) -> None:
        self._strict = strict
        self._fields: dict[str, tuple[Put, int, int]] = {}
        self._fill(descriptor)

    def read(self, value: object, message: Message) -> int:
        """Fills the message; returns the number of members that this object and all within it have."""
        if type(value) is not dict:
            raise _not_an_object(value)
        members = len(value)
        fields = self._fields
        seen = 0
        for name, item in value.items():
            field = fields.get(name)
            if field is None:
                members += self._unknown(name, item)
                continue
            put, own, group = field
            if item is None:
                group = own
            if seen & group:
                raise _given_twice(name, both_spellings=bool(seen & own))
            seen |= group
            if item is None:
                continue
            try:
                members += put(message, item)
            except Malformed as error:
                error.path.insert(0, name)
                raise
        return members

    def _unknown(self, name: str, item: object) -> int:
        if self._strict:
            raise Malformed("is not a field of this protocol: check its spelling", clipped(name))
        return count_members(item)

    def _fill(self, descriptor: Descriptor) -> None:
        for index, field in enumerate(descriptor.fields):
            own = 1 << index
            # Members of one choice share a bit, so that a second one shows; an `optional` field is no choice.
            choice = field.containing_oneof
            shared = len(choice.fields) > 1 if choice is not None else False
            group = own | (1 << (len(descriptor.fields) + choice.index)) if choice is not None and shared else own
            entry = (_putter(field, self._strict), own, group)
            self._fields[field.name] = entry
            self._fields[field.json_name] = entry


@cache
def reader_of(descriptor: Descriptor, *, strict: bool) -> Reader:
    """The one reader of this type."""
    return Reader(descriptor, strict=strict)


def count_members(value: object) -> int:
    """The number of members of all objects within; refuses doubled ones."""
    if isinstance(value, Doubled):
        raise _not_an_object(value)
    if isinstance(value, dict):
        return len(value) + sum(map(count_members, value.values()))
    if isinstance(value, list):
        return sum(map(count_members, value))
    return 0


# ---- fields


def _putter(field: FieldDescriptor, strict: bool) -> Put:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _put_map(field, strict)
    if field.is_repeated:
        return _put_messages(field, strict) if field.message_type is not None else _put_scalars(field, strict)
    if field.message_type is not None:
        return _put_message(field, strict)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _put_string(field.name)
    return _put_scalar(field, strict)


def _put_string(name: str) -> Put:
    # The most frequent kind: no converter in between.
    def put(message: Message, value: Any) -> int:
        if type(value) is not str:
            raise Malformed(f"needs a string, not {named(value)}")
        try:
            setattr(message, name, value)
        except UnicodeEncodeError:
            raise _lone_surrogate() from None
        return 0

    return put


def _put_scalar(field: FieldDescriptor, strict: bool) -> Put:
    name, convert, wanted = field.name, converter_of(field, strict), wanted_for(field)

    def put(message: Message, value: Any) -> int:
        try:
            setattr(message, name, convert(value))
        except (TypeError, ValueError, OverflowError):
            raise _wrong(wanted, value) from None
        except Passed:
            pass
        return 0

    return put


def _put_message(field: FieldDescriptor, strict: bool) -> Put:
    name, descriptor = field.name, field.message_type
    reader: Reader | None = None

    def put(message: Message, value: Any) -> int:
        nonlocal reader
        if reader is None:  # found late, because types may contain each other
            reader = reader_of(descriptor, strict=strict)
        inner = getattr(message, name)
        inner.SetInParent()
        return reader.read(value, inner)

    return put


def _put_messages(field: FieldDescriptor, strict: bool) -> Put:
    name, descriptor = field.name, field.message_type

    def put(message: Message, value: Any) -> int:
        reader = reader_of(descriptor, strict=strict)
        add = getattr(message, name).add
        members = 0
        for index, item in enumerate(_array(value)):
            try:
                members += reader.read(item, add())
            except Malformed as error:
                error.path.insert(0, str(index))
                raise
        return members

    return put


def _put_scalars(field: FieldDescriptor, strict: bool) -> Put:
    name, convert, wanted = field.name, converter_of(field, strict), wanted_for(field)

    def put(message: Message, value: Any) -> int:
        append = getattr(message, name).append
        for index, item in enumerate(_array(value)):
            try:
                append(convert(item))
            except UnicodeEncodeError:
                raise _lone_surrogate(str(index)) from None
            except (TypeError, ValueError, OverflowError):
                raise _wrong(wanted, item, str(index)) from None
            except Passed:
                continue
        return 0

    return put


def _put_map(field: FieldDescriptor, strict: bool) -> Put:
    assert field.message_type is not None
    key_field = field.message_type.fields_by_name["key"]
    value_field = field.message_type.fields_by_name["value"]
    if key_field.type != FieldDescriptor.TYPE_STRING or value_field.message_type is not None:
        raise TypeError(f"{field.full_name}: only maps from strings to scalars are in the tables; add the kind")
    name, convert, wanted = field.name, converter_of(value_field, strict), wanted_for(value_field)

    def put(message: Message, value: Any) -> int:
        if type(value) is not dict:
            raise _not_an_object(value)
        target = getattr(message, name)
        for key, item in value.items():
            try:
                target[key] = convert(item)
            except UnicodeEncodeError:
                raise _lone_surrogate(clipped(key)) from None
            except (TypeError, ValueError, OverflowError):
                raise _wrong(wanted, item, clipped(key)) from None
            except Passed:
                continue
        return len(value)

    return put


# ---- what to say


def _wrong(wanted: str, value: object, *path: str) -> Malformed:
    return Malformed(f"needs {wanted}, not {named(value)}", *path)


def _not_an_object(value: object) -> Malformed:
    if isinstance(value, Doubled):
        return Malformed("is given twice in one object: give it once", clipped(value.name))
    return Malformed(f"needs an object, not {named(value)}")


def _lone_surrogate(*path: str) -> Malformed:
    return Malformed("holds half of a surrogate pair, which is no character: send whole ones", *path)


def _given_twice(name: str, *, both_spellings: bool) -> Malformed:
    if both_spellings:
        return Malformed("is given twice, in both spellings: give it once", name)
    return Malformed("stands beside another member of the same choice: give only one of them", name)


def _array(value: object) -> list[Any]:
    if type(value) is not list:
        raise Malformed(f"needs an array, not {named(value)}")
    return value
