"""What a draft of kind CHANGE does: judged on its target, and what is then inserted.

    judge (folding/judge.py) ──▶ the CHANGE as an entry ──▶ its target after it, what is pinned after it

An act is planned again whenever its conversation, its target or its number has changed. What it says is made anew each
time: the content of an edit with the `reply_to` of its target, the whole text of a stream, the reactions of now.

Guarantees: no I/O. What is planned depends on nothing but what is given here, and on what the stream and the reactions
in memory say.
Does not know: numbers, how it is inserted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.storage.folding.contents import edited, in_order, text_of, with_text
from services.storage.folding.fold import folded, mentioned_in, pinned_after
from services.storage.folding.judge import Actor, Place, Verdict, judge
from services.storage.folding.shown import folded_state
from services.storage.folding.texts import NoStreamTexts, StreamTexts, TextSoFar, as_of_now
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.targets import Targets
from services.storage.repository.records import CHANGE, ClientKey, StoredMessage
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TidingsError

FoldedState = storage_pb2.FoldedState


class ReactionsNow(NamedTuple):
    """What is to be told of the reactions to an entry: what came and went, and all that are there after it."""

    reacted: client_pb2.Change.Reacted
    reactions: Sequence[client_pb2.Reaction]


# What is to be told now; None: nothing. It is asked as often as the act is planned.
Reactions = Callable[[], ReactionsNow | None]


class PartMissing(BadRequest):
    """The end of a stream says that it has more parts than came; `next_part` is the first that is missing."""

    def __init__(self, next_part: int) -> None:
        super().__init__(
            f"part {next_part} of this stream has not come: send it and those after it, or the whole text",
            next_part=next_part,
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """`keeps_history`: the contents of former edits stay for the operator. `has_room`: whether one more stream may
    begin in a conversation.
    """

    texts: StreamTexts = field(default_factory=NoStreamTexts)
    keeps_history: bool = False
    has_room: Callable[[str], bool] = lambda _: True


class Number(NamedTuple):
    """Where an entry is to stand."""

    seq: int
    time_ms: int
    before: int


@dataclass(frozen=True, slots=True)
class PlannedAct:
    """The CHANGE as it is inserted, its target after it, and what is pinned then (None: what was)."""

    entry: StoredMessage
    target: StoredMessage
    pinned: tuple[int, ...] | None


@dataclass(slots=True, eq=False)
class Act:
    """`given`: the content of an edit, as it came. `mentioned`: those whom it names and who are members. `target_role`:
    the role of who sent the target. `target`: what that is after the act, or, if nothing is to be done, as it is.
    """

    change: client_pb2.Change
    actor: Actor
    given: bytes = b""
    reactions: Reactions | None = None
    mentioned: tuple[str, ...] = ()
    target_role: int = 0
    planned: PlannedAct | None = None
    target: StoredMessage | None = None

    @property
    def name(self) -> str:
        return self.change.WhichOneof("act") or ""

    @property
    def seq(self) -> int:
        """Of the target."""
        return self.change.seq

    def plan(
        self,
        key: ClientKey,
        number: Number,
        conversation: CachedConversation,
        targets: Targets,
        rules: Rules,
        now_ms: int,
    ) -> Verdict | TidingsError:
        """Judges it; if it is allowed, `planned` is what comes of it, and `targets` say so from now on."""
        self.planned, pinned = None, targets.pinned_in(conversation)
        target = self.target = targets.at((conversation.id, self.seq))
        place = Place(conversation.kind, conversation.first_seq, len(pinned), self.target_role)
        verdict = judge(self.change, self.actor, target, place, now_ms)
        if verdict is not Verdict.ALLOWED:
            return verdict
        assert target is not None
        entry = self._entry(key, number, target, rules)
        if not isinstance(entry, StoredMessage):
            return entry
        after = self.target = folded(target, entry)
        pinned_now = pinned_after(pinned, entry)
        self.planned = PlannedAct(entry, after, pinned_now if pinned_now != pinned else None)
        targets.put(after)
        targets.put_pinned(conversation.id, pinned_now)
        return verdict

    def _entry(
        self, key: ClientKey, number: Number, target: StoredMessage, rules: Rules
    ) -> StoredMessage | Verdict | TidingsError:
        """The CHANGE as it is inserted, or why it is not."""
        act = client_pb2.Change(seq=self.seq)
        entry = StoredMessage(*key[:1], number.seq, *key[1:], number.time_ms, b"", CHANGE, before=number.before)
        match self.name:
            case "edit":
                act.edit.SetInParent()
                present = mentioned_in(target)
                is_first = not folded_state(target).content_seq
                entry = entry._replace(
                    content=edited(target.content, self.given),
                    mentions=in_order(user for user in self.mentioned if user not in present),
                    former=target.content if rules.keeps_history and is_first else b"",
                )
            case "finish":
                whole = self._whole(target, rules.texts)
                if isinstance(whole, TidingsError):
                    return whole
                act.finish.parts = whole.parts
                act.finish.SetInParent()
                entry = entry._replace(content=with_text(target.content, whole.text))
            case "reacted":
                now = self.reactions() if self.reactions else None
                if now is None:
                    return Verdict.NO_EFFECT
                act.reacted.CopyFrom(now.reacted)
                state = client_pb2.State(reactions=now.reactions)
                entry = entry._replace(state=FoldedState(state=state).SerializeToString())
            case "pin":
                act.pin = self.change.pin
            case _:
                act.recall.SetInParent()
        return entry._replace(act=act.SerializeToString())

    def _whole(self, target: StoredMessage, texts: StreamTexts) -> TextSoFar | PartMissing:
        """The whole of a stream that ends."""
        finish = self.change.finish
        # The owner before may have written parts that this one was not given yet.
        now = as_of_now(target, texts)
        so_far = TextSoFar(now.parts or 0, text_of(now.content))
        if finish.text:
            return TextSoFar(finish.parts or so_far.parts, finish.text)
        if finish.parts > so_far.parts:
            return PartMissing(so_far.parts + 1)
        return so_far
