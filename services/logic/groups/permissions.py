"""Who may speak and read where.

Guarantees: pure; each function returns if it is allowed and raises the protocol's error if it is not: NotFound for a
group that does not exist, Forbidden for one that the user is not in, a channel, somebody else's direct chat, `b:all`,
and for who may not send there. The owner and admins are not held by what a group says of members (`channel`, `muted`);
an admin who is muted by name is. `now_ms`: the time of day, by which a mute is over; 0: none is.

Does not know: changes of groups (rules.py), the shape of content (tidings_protocol/content.py). Ids were checked
before.
"""

from __future__ import annotations

from typing import NamedTuple

from services.logic.groups.model import FOR_EVER, GroupMember, GroupRole, GroupSnapshot
from tidings_protocol.errors import Forbidden, NotFound
from tidings_protocol.ids import ConversationKind, kind_of, peers


class Silence(NamedTuple):
    """Why somebody who is there may send nothing now. `by_name`: it is meant for this user, not for all of a role."""

    error: Forbidden
    by_name: bool = False


def silence_of(conversation: str, user: str, group: GroupSnapshot | None, now_ms: int) -> Silence | None:
    """What silences somebody who may read there, whatever the pace; None: nothing. Who is silenced neither sends nor
    edits, pins, streams. The one place that knows all reasons.
    """
    member = group.members.get(user) if group is not None else None
    if group is None or member is None:
        return None
    if member.muted_until_ms and is_muted(member, now_ms):
        return Silence(Forbidden(f"you are muted in {conversation}: ask its owner or an admin"), by_name=True)
    if member.role is not GroupRole.MEMBER:
        return None
    if group.channel:
        return Silence(
            Forbidden(
                f"{conversation} is a channel, where the owner and admins send: ask the owner to make you an admin"
            )
        )
    if group.further.muted:
        return Silence(Forbidden(f"{conversation} is muted, where only the owner and admins send: ask one of them"))
    return None


def check_send(conversation: str, sender: str, group: GroupSnapshot | None, now_ms: int = 0) -> None:
    """Returns if a message of this user may be stored there; `group` is only looked at for groups."""
    match kind_of(conversation):
        case ConversationKind.DIRECT:
            check_in_chat(conversation, sender)
        case ConversationKind.BROADCAST:
            raise Forbidden("only the operator writes to b:all: write to a user or a group")
        case ConversationKind.GROUP:
            _check_speaker(group, conversation, sender, now_ms)


def check_signal(conversation: str, sender: str, group: GroupSnapshot | None, now_ms: int = 0) -> None:
    """Returns if this user may signal there: as for a message, but nobody signals into a large group."""
    match kind_of(conversation):
        case ConversationKind.DIRECT:
            check_in_chat(conversation, sender)
        case ConversationKind.BROADCAST:
            raise Forbidden("there are no signals in b:all: signal to a user or a group")
        case ConversationKind.GROUP:
            if _check_speaker(group, conversation, sender, now_ms).is_large:
                raise Forbidden(f"there are no signals in {conversation}, which is a large group: send a message")


def check_stream(conversation: str, sender: str, group: GroupSnapshot | None, now_ms: int = 0) -> None:
    """Returns if the text of a message of this user may grow there: as for a message, but not in a large group."""
    check_send(conversation, sender, group, now_ms)
    if group is not None and group.is_large:
        raise Forbidden(f"there are no streams in {conversation}, which is a large group: send whole messages")


def check_read(conversation: str, reader: str, group: GroupSnapshot | None) -> int:
    """The first seq that this user may read there; 0: no bound."""
    match kind_of(conversation):
        case ConversationKind.DIRECT:
            check_in_chat(conversation, reader)
            return 0
        case ConversationKind.BROADCAST:
            return 0
        case ConversationKind.GROUP:
            return check_member(group, conversation, reader)[1].joined_seq


def check_member(group: GroupSnapshot | None, conversation: str, user: str) -> tuple[GroupSnapshot, GroupMember]:
    """The group and the user's place in it; raises NotFound, Forbidden."""
    group = check_exists(group, conversation, user)
    member = group.members.get(user)
    if member is None:
        raise not_a_member(group)
    return group, member


def not_a_member(group: GroupSnapshot) -> Forbidden:
    """The refusal of somebody who is not in the group; it says how one gets in."""
    if group.open:
        return Forbidden(f"you are not a member of {group.conversation}: join it first")
    return Forbidden(f"you are not a member of {group.conversation}: ask one of its admins to add you")


def check_exists(group: GroupSnapshot | None, conversation: str, user: str) -> GroupSnapshot:
    """The group; raises NotFound if there is none. One that is dissolved is there for none but its former members, who
    may do nothing.
    """
    if group is None or (group.dissolved and user not in group.former):
        raise NotFound(f"there is no group {conversation}: check its id, or create a group")
    if group.dissolved:
        raise Forbidden(f"{conversation} is dissolved, and nobody is a member any more: leave it out of what you show")
    return group


def check_leader(group: GroupSnapshot | None, conversation: str, user: str) -> GroupSnapshot:
    """The group, if the user is its owner or an admin; raises NotFound, Forbidden."""
    group, member = check_member(group, conversation, user)
    if member.role is GroupRole.MEMBER:
        raise Forbidden(f"only the owner and admins of {conversation} may do that: ask one of them")
    return group


def is_muted(member: GroupMember, now_ms: int) -> bool:
    """Whether the member is muted by name: may neither send nor react."""
    until_ms = member.muted_until_ms
    return bool(until_ms) and member.role is not GroupRole.OWNER and (until_ms == FOR_EVER or until_ms > now_ms)


def pace_of(group: GroupSnapshot, user: str) -> int:
    """In how many seconds this member sends once at most; 0: as they like."""
    slow_s = group.further.slow_s
    return slow_s if slow_s and group.role_of(user) is GroupRole.MEMBER else 0


def check_in_chat(conversation: str, user: str) -> None:
    """Returns if the user is one of the two of this direct chat; raises Forbidden."""
    if user not in peers(conversation):
        raise Forbidden(f"{conversation} is a direct chat of others: name one of your own")


def _check_speaker(group: GroupSnapshot | None, conversation: str, user: str, now_ms: int) -> GroupSnapshot:
    group, _ = check_member(group, conversation, user)
    if (silence := silence_of(conversation, user, group, now_ms)) is not None:
        raise silence.error
    return group
