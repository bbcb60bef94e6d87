"""The names of things: users, conversations, messages, slots.

Guarantees: every function is pure (but `new_id`) and gives the same answer in every process and version, because
slots, direct chats and message ids are derived from it on many nodes and stored for years.

Does not know: who exists, who is a member of what.

    user           1 to 64 of ASCII letters, digits and . _ - @ :      case matters; `tidings` is nobody's name
    direct chat    d:<a>|<b>        the two users in order of their bytes (one may write to oneself: d:a|a)
    group          g:<id>           the id has the alphabet and length of a user's
    broadcast      b:all            the operator's notices to everyone
"""

from __future__ import annotations

import os
import re
from enum import IntEnum
from hashlib import blake2b

from xxhash import xxh64_intdigest

from tidings_protocol.errors import BadRequest

SLOTS = 4096
BROADCAST = "b:all"
OPERATOR = "tidings"

_NAME = r"[A-Za-z0-9._\-@:]{1,64}"
_is_name = re.compile(_NAME).fullmatch
_is_group = re.compile(f"g:{_NAME}").fullmatch
_match_direct = re.compile(f"d:({_NAME})\\|({_NAME})").fullmatch

USER_RULE = "1 to 64 of the ASCII letters, digits and . _ - @ : (and not `tidings`)"
CONVERSATION_RULE = "d:<user>|<user> for a direct chat, g:<id> for a group, or b:all"


class ConversationKind(IntEnum):
    """The numbers are those of `tidings.v1.Conversation.Kind`."""

    DIRECT = 1
    GROUP = 2
    BROADCAST = 3


def hash64(text: str) -> int:
    """The one hash of the cluster: 64 bits of xxHash over the UTF-8 bytes."""
    return xxh64_intdigest(text.encode())


def slot_of(key: str) -> int:
    """The slot of a user id or a conversation id, in [0, SLOTS)."""
    return xxh64_intdigest(key.encode()) % SLOTS


def is_user(text: str) -> bool:
    """Whether a user may be called this; says nothing about whether there is one."""
    return _is_name(text) is not None and text != OPERATOR


def check_user(text: str) -> str:
    """The user id itself, or BadRequest that says the rule."""
    if text == OPERATOR:
        raise BadRequest("`tidings` is the operator's name, not a user's: give another user id")
    if _is_name(text) is None:
        raise BadRequest(f"{_shown(text)} is not a user id: give {USER_RULE}")
    return text


def direct(a: str, b: str) -> str:
    """The direct chat of two users, whichever is named first. Does not check the names."""
    # Names are ASCII, so the order of the strings is the order of their bytes.
    return f"d:{a}|{b}" if a <= b else f"d:{b}|{a}"


def peers(conversation: str) -> tuple[str, str]:
    """The two users of a direct chat; BadRequest if it is not one."""
    found = _match_direct(conversation)
    if found is None:
        raise BadRequest(f"{_shown(conversation)} is not a direct chat: give d:<user>|<user>")
    a, b = found.groups()
    return a, b


def other_of(conversation: str, user: str) -> str:
    """The one to whom `user` writes in this direct chat: the other, or the user in a chat with oneself."""
    a, b = peers(conversation)
    return b if user == a else a


def kind_of(conversation: str) -> ConversationKind:
    """The kind of an id that was checked before; only its first letter is looked at."""
    match conversation[:2]:
        case "d:":
            return ConversationKind.DIRECT
        case "g:":
            return ConversationKind.GROUP
        case "b:":
            return ConversationKind.BROADCAST
        case _:
            raise BadRequest(_not_a_conversation(conversation))


def check_conversation(conversation: str) -> ConversationKind:
    """The kind of a well-formed conversation id; BadRequest that says what is wrong otherwise."""
    if conversation.startswith("d:"):
        found = _match_direct(conversation)
        if found is None:
            raise BadRequest(_not_a_conversation(conversation))
        a, b = found.groups()
        if a > b:
            raise BadRequest(f"the users of a direct chat stand in order of their bytes: use d:{b}|{a}")
        if OPERATOR in (a, b):
            raise BadRequest("nobody chats with `tidings`, which is the operator's name: give another user")
        return ConversationKind.DIRECT
    if _is_group(conversation) is not None:
        return ConversationKind.GROUP
    if conversation == BROADCAST:
        return ConversationKind.BROADCAST
    raise BadRequest(_not_a_conversation(conversation))


def message_id(conversation: str, seq: int) -> str:
    """24 hex digits that follow from the place of the message, so nothing needs to store them."""
    return blake2b(f"{conversation} {seq}".encode(), digest_size=12).hexdigest()


def new_id() -> str:
    """24 random hex digits: sessions, boots, client ids."""
    return os.urandom(12).hex()


def _not_a_conversation(text: str) -> str:
    return f"{_shown(text)} is not a conversation: give {CONVERSATION_RULE}"


def _shown(text: str) -> str:
    """The text as it may stand in a message: quoted, without control characters, not longer than a line."""
    return ascii(text if len(text) <= 80 else text[:80] + "...")
