"""The rules of keeping order in groups: their settings, who is muted, who is banned, and their end.

    act        who may                                       what is refused
    update     OWNER, ADMIN; open, channel, share_history,   (nothing changes: done already)
               approval, members_add: OWNER
    mute       OWNER anyone; ADMIN a MEMBER                  oneself, a time that is over: BAD_REQUEST; none of them is
                                                             a member: NOT_FOUND
    ban        as mute, and whoever is no member             oneself: BAD_REQUEST; more than may be: BAD_REQUEST
    dissolve   OWNER

In a large group there is no message of a mute or ban; of an update and of the end there is.

Guarantees: those of rules.py. Does not know: what a mute or ban keeps from whom (permissions.py, entering.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.logic.groups.changing import announced, told_if_small
from services.logic.groups.model import (
    FOR_EVER,
    AlreadyDone,
    Circumstances,
    Decision,
    GroupAct,
    GroupPolicy,
    GroupRole,
    GroupSnapshot,
)
from services.logic.groups.needs import once
from services.logic.groups.permissions import check_leader, check_member
from services.logic.groups.settings import OWNERS, changed_by, merged, names_in
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden, NotFound

Request = client_pb2.GroupRequest


def update(group: GroupSnapshot | None, actor: str, request: Request.Update, policy: GroupPolicy) -> Decision:
    """The settings that are given hold from now on."""
    group = check_leader(group, request.conversation, actor)
    changed = changed_by(group, request.settings)
    names = names_in(changed)
    if group.role_of(actor) is not GroupRole.OWNER and (owners := OWNERS.intersection(names)):
        raise Forbidden(f"only the owner of {group.conversation} changes {', '.join(sorted(owners))}: ask the owner")
    further = merged(group.further, changed, policy)
    encoded = changed.SerializeToString(deterministic=True)
    act = GroupAct("update", actor, name=changed.name, settings=encoded)
    if not names:
        return AlreadyDone(group.conversation, act)
    in_group = {name: getattr(changed, name) for name in names if name in {"name", "open", "channel", "share_history"}}
    return announced(group, act, further=further, **in_group)


def mute(group: GroupSnapshot | None, actor: str, request: Request.Mute, known: Circumstances) -> Decision:
    """Members may not send until then, or may again."""
    group = check_leader(group, request.conversation, actor)
    until_ms = request.until_ms
    if until_ms not in {0, FOR_EVER} and until_ms <= known.now_ms:
        raise BadRequest("until_ms is in the past: give a time to come, 0 for no longer, or -1 for ever")
    users = once(request.users)
    _check_over(group, actor, users, "mutes")
    there = [group.members[user] for user in users if user in group.members]
    if until_ms and not there:
        raise NotFound(f"none of these is a member of {group.conversation}: name members")
    meant = tuple(replace(member, muted_until_ms=until_ms) for member in there if member.muted_until_ms != until_ms)
    named = tuple(member.user for member in meant) or users
    act = GroupAct("mute" if until_ms else "unmute", actor, named, until_ms=until_ms)
    if not meant:
        return AlreadyDone(group.conversation, act)
    return told_if_small(group, act, members=meant)


def ban(
    group: GroupSnapshot | None, actor: str, request: Request.Ban, policy: GroupPolicy, known: Circumstances
) -> Decision:
    """Users are put out and may not come back, or may again."""
    group = check_leader(group, request.conversation, actor)
    users = once(request.users)
    if not request.banned:
        meant = tuple(user for user in users if user in known.banned)
        act = GroupAct("unban", actor, meant or users)
        return told_if_small(group, act, unbanned=meant) if meant else AlreadyDone(group.conversation, act)
    _check_over(group, actor, users, "bans")
    meant = tuple(user for user in users if user not in known.banned)
    removed = tuple(user for user in users if user in group.members)
    act = GroupAct("ban", actor, meant or removed or users)
    if not meant and not removed:
        return AlreadyDone(group.conversation, act, dropped=users if group.is_large else ())
    if group.bans + len(meant) > policy.bans_max:
        raise BadRequest(
            f"{group.conversation} has {group.bans} banned users, at most {policy.bans_max} may be: leave some out"
        )
    return told_if_small(group, act, removed=removed, banned=meant)


def dissolve(group: GroupSnapshot | None, actor: str, request: Request.Dissolve) -> Decision:
    """The group ends."""
    group, me = check_member(group, request.conversation, actor)
    if me.role is not GroupRole.OWNER:
        raise Forbidden(f"only the owner dissolves {group.conversation}: ask the owner, or leave")
    # The members of a large group are not all known here: storage goes through them.
    removed = () if group.is_large else tuple(group.members)
    return announced(group, GroupAct("dissolve", actor, name=group.name), removed=removed, dissolves=True)


def _check_over(group: GroupSnapshot, actor: str, users: Sequence[str], does: str) -> None:
    """Raises if the actor may not do this to one of these."""
    if actor in users:
        raise BadRequest(f"nobody {does} oneself: name others")
    mine = group.role_of(actor)
    for user in users:
        role = group.role_of(user)
        if role is GroupRole.OWNER or (mine is GroupRole.ADMIN and role is GroupRole.ADMIN):
            raise Forbidden(f"an admin {does} members only, and {user} is an admin or the owner: ask the owner")
