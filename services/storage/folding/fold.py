"""What a CHANGE makes of its target, and of what the CHANGEs before it still say.

    act        content          state                              mentions
    edit       the CHANGE's     edited_ms, content_seq             those that the content does not name are gone
    finish     the CHANGE's     no stream any more, parts, c._seq  stay
    recall     none             recalled_by, and nothing else      none
    pin        stays            pinned, or not                     stay
    reacted    stays            the reactions that it carries      stay
    unknown    stays            stays                              stay

Each sets `revision` to its seq. A CHANGE that is in already (its seq is not above the revision) makes nothing of it,
and nothing is made of what is recalled.

Guarantees: pure. Everything is made of the two documents alone, so that whoever finds them (recovery) makes the same of
them; folding again does no harm.
Does not know: who may do it (judge.py), databases.
"""

from __future__ import annotations

from collections.abc import Collection

from protos.tidings.internal.v1 import storage_pb2
from services.storage.folding.contents import in_order, named_in
from services.storage.folding.shown import act_in, folded_state
from services.storage.repository.records import Erasure, Fold, StoredMessage
from tidings_protocol import client_pb2

FoldedState = storage_pb2.FoldedState


def mentioned_in(entry: StoredMessage) -> tuple[str, ...]:
    """Who is mentioned by an entry or by one of its CHANGEs."""
    state = folded_state(entry)
    return tuple(state.mentions) if state.content_seq else entry.mentions


def folded(target: StoredMessage, change: StoredMessage) -> StoredMessage:
    """The target after the CHANGE."""
    after = folded_state(target)
    if change.seq <= after.state.revision:
        return target
    act = act_in(change.act)
    if after.state.recalled_by:
        after.state.revision = change.seq
        return target._replace(state=after.SerializeToString())
    match act.WhichOneof("act"):
        case "edit":
            return _edited(target, change, after)
        case "finish":
            return _finished(target, change, act, after)
        case "recall":
            gone = FoldedState(state=client_pb2.State(revision=change.seq, recalled_by=change.sender))
            return target._replace(content=b"", state=gone.SerializeToString(), mentions=(), parts=None)
        case "pin":
            after.state.pinned = act.pin
        case "reacted":
            del after.state.reactions[:]
            after.state.reactions.extend(folded_state(change).state.reactions)
        case _:
            pass  # of a later version: it is one of the target's changes, and this one shows nothing of it
    after.state.revision = change.seq
    return target._replace(state=after.SerializeToString())


def _edited(target: StoredMessage, change: StoredMessage, after: storage_pb2.FoldedState) -> StoredMessage:
    named = named_in(change.content)
    present = in_order([*(user for user in mentioned_in(target) if user in named), *change.mentions])
    after.state.revision, after.state.edited_ms = change.seq, change.time_ms
    after.content_seq = change.seq
    after.mentions[:] = present
    return target._replace(
        content=change.content,
        state=after.SerializeToString(),
        mentions=tuple(user for user in target.mentions if user in present),
    )


def _finished(
    target: StoredMessage, change: StoredMessage, act: client_pb2.Change, after: storage_pb2.FoldedState
) -> StoredMessage:
    after.mentions[:] = mentioned_in(target)
    after.state.revision, after.state.streaming, after.state.parts = change.seq, False, act.finish.parts
    after.content_seq = change.seq
    return target._replace(content=change.content, state=after.SerializeToString(), parts=None)


def pinned_after(pinned: Collection[int], change: StoredMessage) -> tuple[int, ...]:
    """What is pinned in the conversation after a CHANGE, the newest pin first."""
    act = act_in(change.act)
    others = tuple(seq for seq in pinned if seq != act.seq)
    match act.WhichOneof("act"):
        case "pin":
            return (act.seq, *others) if act.pin else others
        case "recall":
            return others
        case _:
            return tuple(pinned)


def fold_of(before: StoredMessage, after: StoredMessage) -> Fold:
    """What is to be written of a target, which was read as `before`."""
    return Fold(
        after.conversation,
        after.seq,
        folded_state(after).state.revision,
        after.state,
        None if after.content == before.content else after.content,
        after.mentions,
        ends=before.parts is not None and after.parts is None,
    )


def erasure_of(target: StoredMessage, before: StoredMessage | None, *, keeps_history: bool) -> Erasure | None:
    """What the CHANGEs of a target lose by what it has become; None: nothing. `before`: the target when they had lost
    all that they were to lose until then; None: that is not known. `keeps_history`: the contents of former edits stay.
    """
    now = folded_state(target)
    if now.state.recalled_by:
        return Erasure(
            target.conversation, target.seq, now.state.revision + 1, contents=True, mentions=(), everything=True
        )
    if not now.content_seq or (before is not None and folded_state(before).content_seq == now.content_seq):
        return None
    return Erasure(
        target.conversation,
        target.seq,
        now.content_seq,
        contents=not keeps_history,
        mentions=tuple(now.mentions),
        since=_first_to_lose(before, now),
    )


def _first_to_lose(before: StoredMessage | None, now: storage_pb2.FoldedState) -> int:
    """The CHANGE from which on they lose something. None before the one whose content was the present one has a
    content, but any may mention somebody.
    """
    if before is None or not set(mentioned_in(before)) <= set(now.mentions):
        return 0
    return folded_state(before).content_seq
