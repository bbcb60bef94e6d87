"""The `_id`s: bytes or text that sort as the things they name do.

    log        of a message: conversation 00 seq        of an inbox entry: user 01 number        (8 bytes, big-endian)
    members    "conversation user"                      sessions, devices: "user device"
    ahead      "conversation seq"                       (the count of the digits, then these)

A user may be called as a group is (`g:1`): the byte between tells them apart. MongoDB sorts binary data by its length
first. That does no harm in the log: all keys of one conversation, or of one user, are equally long. Where the second
part varies in length, the key is text; a blank sorts before every character of an id.
"""

from __future__ import annotations

import struct

MAX_NUMBER = 2**63 - 1
_PLACE = struct.Struct(">BQ").pack


def id_of_message(conversation: str, seq: int) -> bytes:
    """The `_id` of a message in the log."""
    return conversation.encode() + _PLACE(0, seq)


def id_of_entry(user: str, number: int) -> bytes:
    """The `_id` of an inbox entry in the log."""
    return user.encode() + _PLACE(1, number)


def number_of(key: bytes) -> int:
    """The seq or number in such an `_id`."""
    return int.from_bytes(key[-8:], "big")


def paired(first: str, second: str) -> str:
    """The `_id` of a member, session or device."""
    return f"{first} {second}"


def numbered(first: str, number: int) -> str:
    """The `_id` of what a message of this number has beside it: as text it sorts as the numbers do."""
    digits = str(number)
    return f"{first} {len(digits):02d}{digits}"


def second_of(key: str) -> str:
    return key.split(" ", 1)[1]


def pairs_of(first: str) -> tuple[str, str]:
    """All `_id`s that begin with this are between these two."""
    return f"{first} ", f"{first}!"
