"""JSON text to values and back: by msgspec where it is installed, as on servers, and by the standard library elsewhere.

Guarantees: both take and refuse the same, and write what the other reads as the same value. UTF-8 only; no NaN or
Infinity; a member that stands twice is marked (`Doubled`) by `parse`. `write` makes base64 of bytes.

Does not know: frames, fields.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from typing import Any

from tidings_protocol.errors import Unparsable


class Doubled(dict[str, Any]):
    """An object in which the member `name` stood twice."""

    __slots__ = ("name",)

    def __init__(self, members: dict[str, Any], name: str) -> None:
        super().__init__(members)
        self.name = name


try:
    from msgspec import DecodeError
    from msgspec.json import Decoder, Encoder
except ImportError:
    _encode = json.JSONEncoder(
        ensure_ascii=False,
        check_circular=False,
        allow_nan=False,
        separators=(",", ":"),
        default=lambda value: b2a_base64(value, newline=False).decode(),
    ).encode

    def write(value: Any, /) -> bytes:
        """The value as a compact JSON document."""
        return _encode(value).encode()

    def parse_fast(text: bytes) -> dict[str, Any] | None:  # noqa: ARG001 - as the other one
        """There is no faster way than `parse` here."""
        return None

else:
    _decode = Decoder().decode
    write = Encoder().encode

    def parse_fast(text: bytes) -> dict[str, Any] | None:
        """The object, where of two members with one name the last is kept without a word; None: only `parse` can tell.

        Raises Unparsable.
        """
        try:
            document = _decode(text)
        except (DecodeError, UnicodeDecodeError):
            return None
        except RecursionError:
            raise _too_deep() from None
        return document if type(document) is dict else None


def parse(text: bytes) -> object:
    """The value with doubled members marked; takes what msgspec refuses but JSON allows (half surrogate pairs).

    Raises Unparsable.
    """
    try:
        return json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise Unparsable("the message is not UTF-8 text: encode it so") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise Unparsable(f"the message is not JSON: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return Doubled(members, name)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _too_deep() -> Unparsable:
    return Unparsable("the message is nested too deeply to be a frame")
