"""Changes of messages, as the application sees them: what was done to an earlier message, and what it is after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from tidings.model.content import Content
from tidings.model.messages import Message
from tidings.model.states import State
from tidings_protocol import client_pb2 as pb
from tidings_protocol.kinds import CHANGE


class ChangeAct(StrEnum):
    """What was done to a message."""

    EDIT = "edit"
    RECALL = "recall"
    REACT = "react"  # reactions came or went
    PIN = "pin"
    UNPIN = "unpin"
    FINISH = "finish"  # of a stream: its text is whole


@dataclass(frozen=True, slots=True)
class Reacted:
    """One reaction that came or went."""

    user: str
    reaction: str


@dataclass(frozen=True, slots=True)
class MessageChanged:
    """An entry of the log that changes the message `seq`: in order among the messages, each once, own ones too.

    `change_seq`, `id`: its own. `by`: who did it; of reactions, who acted last. `state`: of the message, after it.
    `content`: what an edit or a finish made it, None if this entry does not tell. `added`, `removed`: reactions, at
    most 20 of each. `message`: as it is after it (and perhaps after later changes), None if this device does not have
    it at hand: read it by `history`, or fold the change into your own copy by `folded`.
    """

    conversation: str
    seq: int
    change_seq: int
    act: ChangeAct
    by: str
    time_ms: int
    state: State
    content: Content | None = None
    added: tuple[Reacted, ...] = ()
    removed: tuple[Reacted, ...] = ()
    parts: int = 0  # of a finish
    client_id: str = ""
    message: Message | None = None
    id: str = ""

    def with_message(self, message: Message | None) -> MessageChanged:
        return replace(self, message=message)

    @classmethod
    def from_proto(cls, entry: pb.Message) -> MessageChanged | None:
        """None: it is no change, or one that tells nothing to this version (an unknown act, a message that is gone)."""
        change = entry.change
        act = _act_of(change)
        if entry.kind != CHANGE or act is None or not change.seq or not entry.HasField("state"):
            return None
        return cls(
            conversation=entry.conversation,
            seq=change.seq,
            change_seq=entry.seq,
            act=act,
            by=entry.sender,
            time_ms=entry.time_ms,
            state=State.from_proto(entry.state),
            content=_content_of(change),
            added=_reacted(change.reacted.added),
            removed=_reacted(change.reacted.removed),
            parts=change.finish.parts,
            client_id=entry.client_id,
            id=entry.message_id,
        )


def _act_of(change: pb.Change) -> ChangeAct | None:
    match change.WhichOneof("act"):
        case "edit":
            return ChangeAct.EDIT
        case "recall":
            return ChangeAct.RECALL
        case "reacted" | "react" | "unreact":
            return ChangeAct.REACT
        case "pin":
            return ChangeAct.PIN if change.pin else ChangeAct.UNPIN
        case "finish":
            return ChangeAct.FINISH
        case _:
            return None


def _content_of(change: pb.Change) -> Content | None:
    edit = change.edit
    if edit.WhichOneof("body") is not None or edit.media:
        return Content.from_proto(edit)
    return Content(text=change.finish.text) if change.finish.text else None


def _reacted(told: Iterable[pb.Change.Reacted.One]) -> tuple[Reacted, ...]:
    return tuple(Reacted(one.user, one.reaction) for one in told)
