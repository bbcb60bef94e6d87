"""What a message is after a change, or after it was read again. Pure functions on values.

Guarantees, whatever comes twice, late, or not at all:
- a change whose place is not beyond the revision that one has is ignored, and so is what was read before it;
- of two readings with one revision the one received later counts, and of a stream the one with more parts;
- an edit that does not tell its content is passed over: a later one has it, or what is read has;
- what is recalled stays recalled, without content.

The revision of a message here is the place of the last change that was taken. It is not the one in the change's state:
in a page a change comes with the state that its message has now, and the changes between have contents still to bring.

Which reactions are one's own is only said in pages and lists; between them it follows from who is named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tidings.model import ChangeAct, Message, MessageChanged, Reacted, Reaction, State


def folded(message: Message, change: MessageChanged, me: str = "") -> Message:
    """The message after the change; itself, if the change tells nothing that it does not have. `me`: the user."""
    if change.change_seq <= message.state.revision or not tells(message, change):
        return message
    mine = _mine(message.state.reactions, change.added, change.removed, me)
    after = message.with_content(change.content) if change.content is not None else message
    state = replace(change.state, revision=change.change_seq)
    return _with_state(after, state, mine, me)


def tells(message: Message | None, change: MessageChanged) -> bool:
    """Whether a change says all that it does. An edit may not, when a later one or its message brings the content."""
    if change.content is not None:
        return True
    match change.act:
        case ChangeAct.EDIT:
            return False
        case ChangeAct.FINISH:
            return bool(change.state.recalled_by) or (message is not None and message.state.parts >= change.parts)
        case _:
            return True


def newer(message: Message, read: Message, me: str = "") -> Message:
    """Of what is here and what was read now: the one with more changes in it, and of two alike the one read now."""
    if read.state.revision < message.state.revision:
        return message
    same = read.state.revision == message.state.revision
    if same and message.state.streaming and read.state.parts < message.state.parts:
        return message
    if same and message.recalled and not read.recalled:
        return message  # its time was over, by the clock of this device
    return _with_state(read, read.state, _mine(read.state.reactions, (), (), me), me)


def restated(
    message: Message,
    state: State,
    me: str = "",
    *,
    added: Iterable[Reacted] = (),
    removed: Iterable[Reacted] = (),
) -> Message:
    """The message with a state that came without a change of its own: the answer to one that has no place yet.

    The revision stays: the changes up to that of the state still come.
    """
    if state.revision < message.state.revision:
        return message
    mine = _mine([*message.state.reactions, *state.reactions], added, removed, me)
    return _with_state(message, replace(state, revision=message.state.revision), mine, me)


def grown(message: Message, part: int, text: str) -> Message | None:
    """A stream with its next part; None: this is not the next one."""
    if not message.state.streaming or part != message.state.parts + 1:
        return None
    return replace(message, text=message.text + text, state=replace(message.state, parts=part))


def _with_state(message: Message, state: State, mine: set[str], me: str) -> Message:
    """Nothing is copied of a message that nothing was done to: almost all are."""
    if not (state.reactions or state.recalled_by or message.recalled):
        return message if message.state is state else replace(message, state=state)
    if message.recalled and not state.recalled_by:
        state = replace(state, recalled_by=message.state.recalled_by)
    if state.recalled_by:
        return message.recalled_as(replace(state, reactions=()))
    reactions = tuple(_owned(reaction, mine, me) for reaction in state.reactions)
    return replace(message, state=replace(state, reactions=reactions))


def _owned(reaction: Reaction, mine: set[str], me: str) -> Reaction:
    """The users who are named are the first ones: if they are all, they say whether this user is one of them."""
    if not me:
        return reaction
    complete = reaction.count <= len(reaction.users)
    own = me in reaction.users or (not complete and reaction.reaction in mine)
    return reaction if own is reaction.mine else replace(reaction, mine=own)


def _mine(known: Iterable[Reaction], added: Iterable[Reacted], removed: Iterable[Reacted], me: str) -> set[str]:
    mine = {reaction.reaction for reaction in known if reaction.mine}
    mine |= {one.reaction for one in added if one.user == me}
    return mine - {one.reaction for one in removed if one.user == me}
