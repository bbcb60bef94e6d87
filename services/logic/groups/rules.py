"""The rules of groups: what a request of a user changes, if anything.

`need_of` (needs.py) says what must be loaded before, `decide` says what follows, given that.

    act        who may                                what is refused
    create     anyone                                 more than 500 users: BAD_REQUEST
    join       anyone, if open                        not open: FORBIDDEN; full: BAD_REQUEST
    leave      a member                               (no member: done already)
    add        OWNER, ADMIN                           full: BAD_REQUEST
    remove     OWNER anyone; ADMIN a MEMBER           oneself: BAD_REQUEST (leave)
    set_role   OWNER                                  of no member: NOT_FOUND; the owner's own: BAD_REQUEST
                                                      (an ADMIN, of the owner as OWNER: done already)
    rename     OWNER, ADMIN

An owner who leaves is followed by the oldest admin, else the oldest member; handing over makes the old owner an
admin. Whoever joins a group that everybody has left owns it. A group becomes large with the change that takes it above
the threshold, and stays large: its notice `large` is the last message with inbox numbers.

Guarantees: pure; a repeat of what is so already is `AlreadyDone`, never an error; every error is one of the protocol's.
Does not know: how a change is made atomic (storage), or that somebody else may have made another one meanwhile: then
storage says that the version is stale, and it is decided again.
"""

from __future__ import annotations

from collections.abc import Sequence

from services.logic.groups.model import (
    AlreadyDone,
    Decision,
    GroupAct,
    GroupChange,
    GroupMember,
    GroupNotice,
    GroupPolicy,
    GroupRole,
    GroupSnapshot,
)
from services.logic.groups.needs import once
from services.logic.groups.permissions import check_exists, check_member, not_a_member
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden, NotFound

Request = client_pb2.GroupRequest


def decide(
    request: Request, actor: str, group: GroupSnapshot | None, policy: GroupPolicy, *, new: str = ""
) -> Decision:
    """What the request changes. `group` is what `need_of` asked for, None if there is none; `new` names a create's."""
    match request.WhichOneof("act"):
        case "create":
            return _create(request.create, actor, policy, new)
        case "join":
            return _join(check_exists(group, request.join.conversation), actor, policy)
        case "leave":
            return _leave(check_exists(group, request.leave.conversation), actor)
        case "add":
            group = _check_admin(group, request.add.conversation, actor)
            return _add(group, actor, request.add.users, policy)
        case "remove":
            return _remove(*check_member(group, request.remove.conversation, actor), request.remove.users)
        case "set_role":
            group, member = check_member(group, request.set_role.conversation, actor)
            return _set_role(group, member, request.set_role.user, GroupRole(request.set_role.role))
        case "rename":
            group = _check_admin(group, request.rename.conversation, actor)
            return _rename(group, actor, request.rename.name)
        case act:
            raise BadRequest(f"{act} changes nothing: give create, join, leave, add, remove, set_role or rename")


def info_of(group: GroupSnapshot | None, conversation: str, user: str) -> client_pb2.GroupInfo:
    """What a user may see of a group: all of it as a member, and of an open one also as nobody in particular."""
    group = check_exists(group, conversation)
    role = group.role_of(user)
    if role is None and not group.open:
        raise not_a_member(group)
    return client_pb2.GroupInfo(
        conversation=conversation,
        name=group.name,
        member_count=group.member_count,
        role=client_pb2.Member.Role.ValueType(role or 0),
        head=group.head,
        open=group.open,
        channel=group.channel,
        share_history=group.share_history,
        large_from=group.large_from,
    )


def _create(request: Request.Create, actor: str, policy: GroupPolicy, conversation: str) -> GroupChange:
    users = once((actor, *request.members))
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
    )


def _join(group: GroupSnapshot, actor: str, policy: GroupPolicy) -> Decision:
    act = GroupAct("join", actor, (actor,))
    if actor in group.members:
        return AlreadyDone(group.conversation, act, indexed=act.users if group.is_large else ())
    if not group.open:
        raise Forbidden(f"{group.conversation} is not open: ask an admin to add you")
    role = GroupRole.MEMBER if group.member_count else GroupRole.OWNER
    return _enter(group, act, role, policy)


def _add(group: GroupSnapshot, actor: str, users: Sequence[str], policy: GroupPolicy) -> Decision:
    missing = tuple(user for user in once(users) if user not in group.members)
    if not missing:
        act = GroupAct("add", actor, once(users))
        return AlreadyDone(group.conversation, act, indexed=act.users if group.is_large else ())
    return _enter(group, GroupAct("add", actor, missing), GroupRole.MEMBER, policy)


def _enter(group: GroupSnapshot, act: GroupAct, role: GroupRole, policy: GroupPolicy) -> GroupChange:
    """The users of the act become members: quietly in a large group, with a notice to all in another."""
    count = group.member_count + len(act.users)
    if count > policy.members_max:
        raise BadRequest(
            f"{group.conversation} would have {count} members, at most {policy.members_max} may be: add fewer users"
        )
    joined_seq = 1 if group.share_history else 0
    entered = tuple(GroupMember(user, role, joined_seq) for user in act.users)
    if group.is_large:
        # Who enters an empty group owns it, so that must be one only: the next ones are decided on another version.
        return _change(group, act.by, members=entered, acts=(act,), keep_version=group.member_count > 0)
    everyone = (*group.members, *act.users)
    acts = (act, GroupAct("large", act.by)) if count > policy.large_above else (act,)
    return _change(
        group,
        act.by,
        members=entered,
        acts=acts,
        notices=tuple(GroupNotice(each, everyone) for each in acts),
        becomes_large=len(acts) > 1,
    )


def _leave(group: GroupSnapshot, actor: str) -> Decision:
    member = group.members.get(actor)
    gone = GroupAct("leave", actor, (actor,))
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
    return _change(
        group,
        actor,
        members=() if heir is None else (_with_role(heir, GroupRole.OWNER),),
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
    act = GroupAct("remove", me.user, there)
    # Those who are removed still get the notice that says so: they are among the members before.
    notices = () if group.is_large else (GroupNotice(act, tuple(group.members)),)
    return _change(group, me.user, removed=there, acts=(act,), notices=notices)


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
        (_with_role(target, role), _with_role(me, GroupRole.ADMIN))
        if role is GroupRole.OWNER
        else (_with_role(target, role),)
    )
    return _announced(group, act, members=changed)


def _rename(group: GroupSnapshot, actor: str, name: str) -> Decision:
    act = GroupAct("rename", actor, name=name)
    if group.name == name:
        return AlreadyDone(group.conversation, act)
    return _announced(group, act, name=name)


def _announced(
    group: GroupSnapshot, act: GroupAct, *, members: tuple[GroupMember, ...] = (), name: str | None = None
) -> GroupChange:
    """A change with one notice that everybody gets, large or not."""
    recipients = () if group.is_large else tuple(group.members)
    return _change(group, act.by, members=members, acts=(act,), notices=(GroupNotice(act, recipients),), name=name)


def _change(
    group: GroupSnapshot,
    actor: str,
    *,
    acts: tuple[GroupAct, ...],
    name: str | None = None,
    members: tuple[GroupMember, ...] = (),
    removed: tuple[str, ...] = (),
    notices: tuple[GroupNotice, ...] = (),
    becomes_large: bool = False,
    keep_version: bool = False,
    empties: bool = False,
) -> GroupChange:
    return GroupChange(
        conversation=group.conversation,
        actor=actor,
        version=group.version,
        name=group.name if name is None else name,
        open=group.open,
        channel=group.channel,
        share_history=group.share_history,
        members=members,
        removed=removed,
        acts=acts,
        notices=notices,
        becomes_large=becomes_large,
        keep_version=keep_version,
        empties=empties,
    )


def _with_role(member: GroupMember, role: GroupRole) -> GroupMember:
    return GroupMember(member.user, role, member.joined_seq, member.joined_ms)


def _check_admin(group: GroupSnapshot | None, conversation: str, actor: str) -> GroupSnapshot:
    group, member = check_member(group, conversation, actor)
    if member.role is GroupRole.MEMBER:
        raise Forbidden(f"only the owner and admins of {conversation} may do that: ask one of them")
    return group
