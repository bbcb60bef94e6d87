"""The rules of groups: what a request of a user changes, if anything.

`need_of` (needs.py) says what must be loaded before, `decide` says what follows, given that.

    act        who may                                what is refused
    create     anyone                                 more than 500 users: BAD_REQUEST; blocking, full: `refused`
    leave      a member; withdraws a request          (no member: done already)
    remove     OWNER anyone; ADMIN a MEMBER           oneself: BAD_REQUEST (leave)
    set_role   OWNER                                  of no member: NOT_FOUND; the owner's own: BAD_REQUEST
                                                      (an ADMIN, of the owner as OWNER: done already)
    rename     OWNER, ADMIN
    join, add, decide, uninvite: entering.py          update, mute, ban, dissolve: moderating.py

An owner who leaves is followed by the oldest admin, else the oldest member; handing over makes the old owner an
admin. A group becomes large with the change that takes it above the threshold, and stays large: its notice `large` is
the last message with inbox numbers.

Guarantees: pure; a repeat of what is so already is `AlreadyDone`, never an error; every error is one of the protocol's.
Does not know: how a change is made atomic (storage), or that somebody else may have made another one meanwhile: then
storage says that the version is stale, and it is decided again.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.logic.groups import entering, moderating
from services.logic.groups.changing import announced, change_of, told_if_small, with_role
from services.logic.groups.model import (
    NOTHING_KNOWN,
    AlreadyDone,
    Circumstances,
    Decision,
    DropRequests,
    GroupAct,
    GroupChange,
    GroupMember,
    GroupNotice,
    GroupPolicy,
    GroupRole,
    GroupSnapshot,
)
from services.logic.groups.needs import once
from services.logic.groups.permissions import check_exists, check_leader, check_member, is_muted, not_a_member
from services.logic.groups.settings import all_of
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden, NotFound

Request = client_pb2.GroupRequest


def decide(
    request: Request,
    actor: str,
    group: GroupSnapshot | None,
    policy: GroupPolicy,
    known: Circumstances = NOTHING_KNOWN,
    *,
    new: str = "",
) -> Decision:
    """What the request changes. `group` and `known` are what `need_of` asked for, None if there is no group; `new`
    names a create's.
    """
    match request.WhichOneof("act"):
        case "create":
            return _create(request.create, actor, policy, known, new)
        case "join":
            group = check_exists(group, request.join.conversation, actor)
            return entering.join(group, actor, request.join, policy, known)
        case "leave":
            return _leave(check_exists(group, request.leave.conversation, actor), actor, known)
        case "add":
            return entering.add(group, actor, request.add, policy, known)
        case "remove":
            return _remove(*check_member(group, request.remove.conversation, actor), request.remove.users)
        case "set_role":
            group, member = check_member(group, request.set_role.conversation, actor)
            return _set_role(group, member, request.set_role.user, GroupRole(request.set_role.role))
        case "rename":
            group = check_leader(group, request.rename.conversation, actor)
            return _rename(group, actor, request.rename.name)
        case _:
            return _decide_further(request, actor, group, policy, known)


def _decide_further(
    request: Request, actor: str, group: GroupSnapshot | None, policy: GroupPolicy, known: Circumstances
) -> Decision:
    match request.WhichOneof("act"):
        case "decide":
            return entering.decide_requests(group, actor, request.decide, policy, known)
        case "uninvite":
            return entering.uninvite(group, actor, request.uninvite, known)
        case "update":
            return moderating.update(group, actor, request.update, policy)
        case "mute":
            return moderating.mute(group, actor, request.mute, known)
        case "ban":
            return moderating.ban(group, actor, request.ban, policy, known)
        case "dissolve":
            return moderating.dissolve(group, actor, request.dissolve)
        case act:
            raise BadRequest(f"{act} changes nothing: give create, join, leave, add, remove, set_role, update, ...")


def info_of(
    group: GroupSnapshot | None,
    conversation: str,
    user: str,
    known: Circumstances = NOTHING_KNOWN,
    *,
    invite: str = "",
) -> client_pb2.GroupInfo:
    """What a user may see of a group: all of it as a member, and of an open one also as nobody in particular. By an
    invite, its name and how many its members are.
    """
    group = check_exists(group, conversation, user)
    member = group.members.get(user)
    if member is None and invite:
        entering.check_invite(conversation, invite, known.invite)
        return client_pb2.GroupInfo(conversation=conversation, name=group.name, member_count=group.member_count)
    if member is None and not group.open:
        raise not_a_member(group)
    role = member.role if member else 0
    until_ms = member.muted_until_ms if member and is_muted(member, known.now_ms) else 0
    return client_pb2.GroupInfo(
        conversation=conversation,
        name=group.name,
        member_count=group.member_count,
        role=client_pb2.Member.Role.ValueType(role),
        head=group.head,
        open=group.open,
        channel=group.channel,
        share_history=group.share_history,
        large_from=group.large_from,
        settings=all_of(group),
        muted_until_ms=until_ms,
        join_requests=known.requests if role in {GroupRole.OWNER, GroupRole.ADMIN} else 0,
        pinned=group.pinned if member else (),
    )


def _create(
    request: Request.Create, actor: str, policy: GroupPolicy, known: Circumstances, conversation: str
) -> GroupChange:
    named = [user for user in once(request.members) if user != actor]
    able = [user for user in named if user not in known.blocking][: policy.members_max - 1]
    if named and not able:
        raise Forbidden("those who were named have blocked you: leave them out")
    users = (actor, *able)
    large = len(users) > policy.large_above
    joined_seq = 1 if request.share_history else 0
    act = GroupAct("create", actor, users, name=request.name)
    return GroupChange(
        conversation=conversation,
        actor=actor,
        version=0,
        name=request.name,
        open=request.open,
        channel=request.channel,
        share_history=request.share_history,
        members=tuple(
            GroupMember(user, GroupRole.OWNER if user == actor else GroupRole.MEMBER, joined_seq) for user in users
        ),
        acts=(act,),
        notices=(GroupNotice(act, () if large else users),),
        becomes_large=large,
        refused=tuple(user for user in named if user not in set(able)),
    )


def _leave(group: GroupSnapshot, actor: str, known: Circumstances) -> Decision:
    member = group.members.get(actor)
    gone = GroupAct("leave", actor, (actor,))
    if member is None and actor in known.asking:
        return DropRequests(group.conversation, (actor,))
    if member is None:
        return AlreadyDone(group.conversation, gone, dropped=gone.users if group.is_large else ())
    heir = _successor(group, actor) if member.role is GroupRole.OWNER else None
    acts = (gone,) if heir is None else (gone, GroupAct("role", actor, (heir.user,), role=GroupRole.OWNER.name))
    if group.is_large:
        notices = tuple(GroupNotice(act) for act in acts if act is not gone)
    else:
        # Who leaves learns of it on the other devices, but no more of what comes after.
        rest = tuple(user for user in group.members if user != actor)
        notices = tuple(GroupNotice(act, (*rest, actor) if act is gone else rest) for act in acts)
    return change_of(
        group,
        actor,
        members=() if heir is None else (with_role(heir, GroupRole.OWNER),),
        removed=(actor,),
        acts=acts,
        notices=notices,
        empties=group.is_large and member.role is GroupRole.OWNER and heir is None,
    )


def _successor(group: GroupSnapshot, owner: str) -> GroupMember | None:
    """The oldest admin, else the oldest member; storage knows that of a large group."""
    if group.is_large:
        return group.members[group.successor] if group.successor else None
    others = [member for member in group.members.values() if member.user != owner]
    admins = [member for member in others if member.role is GroupRole.ADMIN]
    return min(admins or others, key=lambda member: (member.joined_ms, member.user), default=None)


def _remove(group: GroupSnapshot, me: GroupMember, users: Sequence[str]) -> Decision:
    if me.role is GroupRole.MEMBER:
        raise Forbidden(
            f"only the owner and admins of {group.conversation} remove members: ask one of them, or leave yourself"
        )
    if me.user in users:
        raise BadRequest("you cannot remove yourself: use leave")
    there = tuple(user for user in once(users) if user in group.members)
    protected = [
        user for user in there if me.role is GroupRole.ADMIN and group.members[user].role is not GroupRole.MEMBER
    ]
    if protected:
        raise Forbidden(f"an admin removes members only, and {protected[0]} is an admin or the owner: ask the owner")
    if not there:
        act = GroupAct("remove", me.user, once(users))
        return AlreadyDone(group.conversation, act, dropped=act.users if group.is_large else ())
    return told_if_small(group, GroupAct("remove", me.user, there), removed=there)


def _set_role(group: GroupSnapshot, me: GroupMember, user: str, role: GroupRole) -> Decision:
    target = group.members.get(user)
    act = GroupAct("role", me.user, (user,), role=role.name)
    if me.role is not GroupRole.OWNER:
        if (
            me.role is GroupRole.ADMIN
            and role is GroupRole.OWNER
            and target is not None
            and target.role is GroupRole.OWNER
        ):
            return AlreadyDone(group.conversation, act)  # who handed over is an admin since
        raise Forbidden(f"only the owner of {group.conversation} gives roles: ask the owner")
    if target is None:
        raise NotFound(f"{user} is not a member of {group.conversation}: add them first")
    if target.role is role:
        return AlreadyDone(group.conversation, act)
    if user == me.user:
        raise BadRequest("you stay the owner until you hand over: make another member OWNER")
    changed = (
        (with_role(target, role), with_role(me, GroupRole.ADMIN))
        if role is GroupRole.OWNER
        else (with_role(target, role),)
    )
    return announced(group, act, members=changed)


def _rename(group: GroupSnapshot, actor: str, name: str) -> Decision:
    act = GroupAct("rename", actor, name=name)
    if group.name == name:
        return AlreadyDone(group.conversation, act)
    return announced(group, act, name=name)
