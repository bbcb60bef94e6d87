"""The `_id`s: bytes or text that sort as the things they name do.

    messages   conversation 00 seq (8 bytes, big-endian)         inbox   user 00 number (8 bytes, big-endian)
    members    "conversation user"                               sessions, devices   "user device"

MongoDB sorts binary data by its length first. That does no harm in messages and inbox: all keys of one conversation, or
of one user, are equally long. Where the second part varies in length, the key is text; a blank sorts before every
character of an id.
"""

from __future__ import annotations

MAX_NUMBER = 2**63 - 1


def numbered(key: str, number: int) -> bytes:
    """The `_id` of a message (conversation, seq) or of an inbox entry (user, number)."""
    return b"%b\0%b" % (key.encode(), number.to_bytes(8, "big"))


def number_of(key: bytes) -> int:
    """The seq or number in such an `_id`."""
    return int.from_bytes(key[-8:], "big")


def paired(first: str, second: str) -> str:
    """The `_id` of a member, session or device."""
    return f"{first} {second}"


def second_of(key: str) -> str:
    return key.split(" ", 1)[1]


def pairs_of(first: str) -> tuple[str, str]:
    """All `_id`s that begin with this are between these two."""
    return f"{first} ", f"{first}!"
