"""May this be done to this entry, now, by this user?

What is looked at, in this order; the first that holds is the answer:

    the entry is not there, before what the user may read, a CHANGE, or of the group itself     NOT_FOUND
    it is SYSTEM, and not the operator recalls or edits what the operator sent                  NOT_FOUND
    the user may not send there, and it is no recall of their own                               FORBIDDEN
    it is recalled, or its time is over      recall, by who might: no effect, else              FORBIDDEN

    edit       not the sender's, window over             FORBIDDEN      still a stream               BAD_REQUEST
    finish     not the sender's                          FORBIDDEN      no stream, or an ended one   BAD_REQUEST
    recall     the sender's within the window, or the owner's of the group at any time, or an admin's at any time
               unless the group's owner sent it, or the operator's; else                             FORBIDDEN
    pin        in a direct chat anybody's, in a group owner's and admins', the operator's; else      FORBIDDEN
               it is so already                          no effect      50 are pinned already        BAD_REQUEST
    reacted    by storage itself alone; else                                                         BAD_REQUEST

Guarantees: pure. Times are those of the storage node's clock.
Does not know: who may send there (logic says it in the rights), what was judged before (the target says it).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from protos.tidings.internal.v1 import storage_pb2
from services.storage.folding.contents import is_stream
from services.storage.folding.shown import state_of
from services.storage.repository.records import CHANGE, NORMAL, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden, NotFound, Recalled, TidingsError
from tidings_protocol.ids import OPERATOR, ConversationKind

PINS_MAX: Final = 50
ADMIN: Final = client_pb2.Member.ADMIN
OWNER: Final = client_pb2.Member.OWNER


class Verdict(Enum):
    """What is not refused."""

    ALLOWED = "allowed"
    NO_EFFECT = "no effect"  # it is so already


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something. `rights`: as logic decided them; `is_storage`: a storage node by itself."""

    user: str
    rights: storage_pb2.ActorRights
    is_storage: bool = False

    @property
    def is_operator(self) -> bool:
        return self.rights.is_operator or self.is_storage


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is done: `first_seq`: the oldest that retention kept; `pinned`: how many are; `target_role`: the role of
    who sent the target, 0 if they are no member, or nobody has to know.
    """

    kind: ConversationKind
    first_seq: int = 0
    pinned: int = 0
    target_role: int = 0


def judge(
    act: client_pb2.Change, actor: Actor, target: StoredMessage | None, place: Place, now_ms: int
) -> Verdict | TidingsError:
    """What the table above says. `target`: as the changes before this one leave it; None: it is not there."""
    name = act.WhichOneof("act")
    if target is None or not _is_there(name, actor, target, place):
        return NotFound(f"there is no message {act.seq} that could be changed: give the seq of one that is there")
    own = target.sender == actor.user
    if actor.rights.silenced and not (name == "recall" and own):
        return Forbidden("you may not send here now, so you may only recall what is your own")
    state = state_of(target, now_ms) or client_pb2.State()
    if state.recalled_by:
        if name == "recall" and (own or _may_recall_others(actor, place)):
            return Verdict.NO_EFFECT
        return Recalled(f"message {act.seq} is recalled: it can no longer be changed")
    match name:
        case "edit":
            return _judge_edit(actor, target, state, now_ms, own=own)
        case "finish":
            return _judge_finish(actor, target, state, own=own)
        case "recall":
            return _judge_recall(actor, target, place, now_ms, own=own)
        case "pin":
            return _judge_pin(act, actor, state, place)
        case "reacted" if actor.is_storage:
            return Verdict.ALLOWED
        case _:
            return BadRequest("this is no change of a message that is known here: give one act")


def _is_there(name: str | None, actor: Actor, target: StoredMessage, place: Place) -> bool:
    if target.seq < max(place.first_seq, actor.rights.first_seq) or target.kind == CHANGE:
        return False
    if target.kind == NORMAL:
        return True
    return actor.is_operator and name in {"edit", "recall"} and target.sender == OPERATOR and not target.change


def _judge_edit(
    actor: Actor, target: StoredMessage, state: client_pb2.State, now_ms: int, *, own: bool
) -> Verdict | TidingsError:
    if not own:
        return Forbidden("this message is somebody else's: only its sender edits it")
    if state.streaming:
        return BadRequest("this message is still being written: send `finish` first")
    if not actor.is_operator and _is_over(actor, target, now_ms):
        return Forbidden("this message is too old to be edited: send another one")
    return Verdict.ALLOWED


def _judge_finish(actor: Actor, target: StoredMessage, state: client_pb2.State, *, own: bool) -> Verdict | TidingsError:
    if not own and not actor.is_storage:
        return Forbidden("this message is somebody else's: only its sender finishes it")
    if not state.streaming:
        ended = is_stream(target.content)
        return BadRequest(
            "this stream has ended already: edit the message" if ended else "this message is no stream: edit it"
        )
    return Verdict.ALLOWED


def _judge_recall(
    actor: Actor, target: StoredMessage, place: Place, now_ms: int, *, own: bool
) -> Verdict | TidingsError:
    if _may_recall_others(actor, place):
        return Verdict.ALLOWED
    if not own:
        return Forbidden("this message is somebody else's, and you may not recall it here")
    if _is_over(actor, target, now_ms):
        return Forbidden("this message is too old to be recalled")
    return Verdict.ALLOWED


def _may_recall_others(actor: Actor, place: Place) -> bool:
    """Whether the sender may be another one, and the message of any age."""
    role = actor.rights.role if place.kind is ConversationKind.GROUP else 0
    return actor.is_operator or role == OWNER or (role == ADMIN and place.target_role != OWNER)


def _judge_pin(act: client_pb2.Change, actor: Actor, state: client_pb2.State, place: Place) -> Verdict | TidingsError:
    may = actor.is_operator or place.kind is ConversationKind.DIRECT
    if not may and not (place.kind is ConversationKind.GROUP and actor.rights.role >= ADMIN):
        return Forbidden("only owner and admins pin messages here")
    if act.pin == state.pinned:
        return Verdict.NO_EFFECT
    if act.pin and place.pinned >= PINS_MAX:
        return BadRequest(f"{PINS_MAX} messages are pinned here: unpin one first")
    return Verdict.ALLOWED


def _is_over(actor: Actor, target: StoredMessage, now_ms: int) -> bool:
    return 0 < actor.rights.window_ms < now_ms - target.time_ms
