"""The shape of a change: what a client may ask to be done to an earlier message, as far as the frame alone tells.

    edit       its content is checked as that of a send; what stays as it was is left out of it
    react      the reaction is brought into one form, so that what looks alike is one reaction
    finish     its text is as long as a content's may be

Guarantees: pure; access checks a frame with these before it goes on. What `act_alone` gives holds no client id, no
conversation and no content of an edit, which travel beside it, and nothing that this version does not know.

Does not know: whose the message is, who may change it, whether it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from unicodedata import category, normalize

from tidings_protocol import client_pb2
from tidings_protocol.content import check_client_id, encode_content
from tidings_protocol.errors import BadRequest, TooLarge
from tidings_protocol.kinds import EDIT, FINISH, PIN, REACTED, RECALL, Kind

REACTION_BYTES_MAX: Final = 64
SEQ_MAX: Final = 2**63 - 1
# Asks for a picture instead of a sign: with and without it the same is meant.
_PICTURE: Final = "\ufe0f"

# What a message has from its sending on, whatever its content becomes.
STAYS: Final = ("reply_to", "expire_after_s", "streaming")

# The kind of the entry that each act becomes.
KIND_OF_ACT: Final[Mapping[str, Kind]] = MappingProxyType(
    {"edit": EDIT, "recall": RECALL, "react": REACTED, "unreact": REACTED, "pin": PIN, "finish": FINISH}
)


def check_change(change: client_pb2.Change, content_bytes_max: int) -> None:
    """Checks all but the conversation and an edit's content; BadRequest or TooLarge says what is wrong.

    A reaction stands in the change as it is stored, from then on.
    """
    check_client_id(change.client_id)
    if not 1 <= change.seq <= SEQ_MAX:
        raise BadRequest("a change needs the `seq` of the message that it changes: give it")
    match change.WhichOneof("act"):
        case "react":
            change.react = reaction_of(change.react)
        case "unreact":
            change.unreact = reaction_of(change.unreact)
        case "finish":
            size = len(change.finish.text.encode())
            if size > content_bytes_max:
                raise TooLarge(
                    f"the text has {size} bytes, {content_bytes_max} are allowed: send the rest in a message"
                )
        case "edit" | "recall" | "pin":
            pass
        case "reacted":
            raise BadRequest("`reacted` is told by the server alone: use `react` or `unreact`")
        case _:
            raise BadRequest(f"the change does nothing: give it one of {', '.join(KIND_OF_ACT)}")


def encode_edit(change: client_pb2.Change, content_bytes_max: int) -> bytes:
    """The new content of a message, checked and encoded. What no edit touches is taken out: it stays as it was.

    Raises BadRequest or TooLarge.
    """
    content = change.edit
    for name in STAYS:
        content.ClearField(name)
    return encode_content(content, content_bytes_max)


def act_alone(change: client_pb2.Change) -> bytes:
    """The encoded change without what travels beside it."""
    alone = client_pb2.Change()
    alone.CopyFrom(change)
    alone.ClearField("client_id")
    alone.ClearField("conversation")
    if alone.HasField("edit"):
        alone.edit.Clear()
        alone.edit.SetInParent()
    alone.DiscardUnknownFields()
    return alone.SerializeToString()


def reaction_of(text: str) -> str:
    """The reaction in the one form in which it is stored; BadRequest if it cannot be one."""
    if len(text) > REACTION_BYTES_MAX:
        raise _no_reaction()
    reaction = normalize("NFC", text).rstrip(_PICTURE)
    if not 1 <= len(reaction.encode()) <= REACTION_BYTES_MAX or any(category(each) == "Cc" for each in reaction):
        raise _no_reaction()
    return reaction


def _no_reaction() -> BadRequest:
    return BadRequest(
        f"a reaction has 1 to {REACTION_BYTES_MAX} bytes and no control characters: give an emoji or a short word"
    )
