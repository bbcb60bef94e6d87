"""The rules of coming into groups: joining, asking to, being added or let in, and invites.

    act        who may                                       what is refused
    join       anyone, if open, or by an invite; where       banned: FORBIDDEN; not open: FORBIDDEN; full: BAD_REQUEST;
               joining needs approval, anyone asks           the invite is gone: NOT_FOUND
    add        OWNER, ADMIN; MEMBER if members_add           banned, blocking, full: `refused`; nobody is in: FORBIDDEN
    decide     OWNER, ADMIN                                  who does not ask is passed over; full: as add
    invite     OWNER, ADMIN; MEMBER if members_add
    uninvite   who made it; OWNER, ADMIN                     that of another: FORBIDDEN (gone: done already)

Whoever joins a group that everybody has left owns it. A group becomes large with the change that takes it above the
threshold.

Guarantees: those of rules.py. Does not know: how requests and invites are kept (storage).
"""

from __future__ import annotations

from collections.abc import Sequence

from services.logic.groups.changing import change_of
from services.logic.groups.model import (
    AlreadyDone,
    AskToJoin,
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
    Invite,
    WithdrawInvites,
)
from services.logic.groups.needs import once
from services.logic.groups.permissions import check_leader, check_member
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, Forbidden, NotFound

Request = client_pb2.GroupRequest


def join(
    group: GroupSnapshot, actor: str, request: Request.Join, policy: GroupPolicy, known: Circumstances
) -> Decision:
    """A user comes in, or asks to."""
    act = GroupAct("join", actor, (actor,))
    if actor in group.members:
        return AlreadyDone(group.conversation, act, indexed=act.users if group.is_large else ())
    if actor in known.banned:
        raise Forbidden(f"you are banned from {group.conversation}: ask its owner or an admin")
    invite = check_invite(group.conversation, request.invite, known.invite) if request.invite else None
    # Of a group that everybody has left nobody could decide.
    if invite is None and group.further.approval and group.member_count:
        return AskToJoin(group.conversation, actor, request.text, group.version)
    if invite is None and not group.open:
        raise Forbidden(f"{group.conversation} is not open: ask an admin to add you")
    if group.member_count >= policy.members_max:
        raise BadRequest(
            f"{group.conversation} has {group.member_count} members, as many as may be: try again when one has left"
        )
    role = GroupRole.MEMBER if group.member_count else GroupRole.OWNER
    if invite is None or not invite.uses or invite.is_second:
        return _enter(group, act, role, policy)
    # What is counted is counted on one version: of two who take the last use, one decides again.
    return _enter(group, act, role, policy, used_invite=invite)


def check_invite(conversation: str, named: str, invite: Invite | None) -> Invite:
    """The invite that is named, if it lets the asker in. Raises NotFound."""
    if invite is None or invite.invite != named or not invite.lets_in:
        raise NotFound(f"this invite to {conversation} is gone: ask for another one")
    return invite


def add(
    group: GroupSnapshot | None,
    actor: str,
    request: Request.Add,
    policy: GroupPolicy,
    known: Circumstances,
) -> Decision:
    """Users are taken in, those who may be."""
    group = check_may_add(group, request.conversation, actor)
    users = once(request.users)
    missing = [user for user in users if user not in group.members]
    act = GroupAct("add", actor, users)
    if not missing:
        return AlreadyDone(group.conversation, act, indexed=act.users if group.is_large else ())
    return _take_in(group, actor, missing, policy, known, are_there=len(missing) < len(users))


def decide_requests(
    group: GroupSnapshot | None,
    actor: str,
    request: Request.Decide,
    policy: GroupPolicy,
    known: Circumstances,
) -> Decision:
    """Those who ask are let in, or not."""
    group = check_leader(group, request.conversation, actor)
    asking = tuple(user for user in once(request.users) if user in known.asking)
    if not request.accept:
        return DropRequests(group.conversation, asking, refused=True)
    missing = [user for user in asking if user not in group.members]
    if not missing:
        return AlreadyDone(group.conversation, GroupAct("add", actor, asking))
    return _take_in(group, actor, missing, policy, known, are_there=False)


def uninvite(group: GroupSnapshot | None, actor: str, request: Request.Uninvite, known: Circumstances) -> Decision:
    """An invite ends, or all do."""
    group, me = check_member(group, request.conversation, actor)
    mine_only = me.role is GroupRole.MEMBER
    if request.invite and mine_only and known.invite is not None and known.invite.by != actor:
        raise Forbidden("this invite is another member's: ask the owner or an admin to withdraw it")
    return WithdrawInvites(group.conversation, request.invite, actor if mine_only else "")


def check_may_add(group: GroupSnapshot | None, conversation: str, actor: str) -> GroupSnapshot:
    """The group, if the user may add and invite others; raises NotFound, Forbidden."""
    group, member = check_member(group, conversation, actor)
    if member.role is GroupRole.MEMBER and not group.further.members_add:
        raise Forbidden(f"only the owner and admins of {conversation} may do that: ask one of them")
    return group


def _take_in(
    group: GroupSnapshot,
    actor: str,
    users: Sequence[str],
    policy: GroupPolicy,
    known: Circumstances,
    *,
    are_there: bool,
) -> Decision:
    """Takes in whom it can of these, who are no members. `are_there`: others that were named are members already."""
    able = [user for user in users if user not in known.banned and user not in known.blocking]
    entering = tuple(able[: max(0, policy.members_max - group.member_count)])
    refused = tuple(user for user in users if user not in set(entering))
    if entering:
        return _enter(group, GroupAct("add", actor, entering), GroupRole.MEMBER, policy, refused=refused)
    if are_there:
        return AlreadyDone(group.conversation, GroupAct("add", actor, ()), refused=refused)
    raise Forbidden(
        f"{group.conversation} is full, or those who were named are banned there, or have blocked you: name others"
    )


def _enter(
    group: GroupSnapshot,
    act: GroupAct,
    role: GroupRole,
    policy: GroupPolicy,
    *,
    refused: tuple[str, ...] = (),
    used_invite: Invite | None = None,
) -> GroupChange:
    """The users of the act become members: quietly in a large group, with a notice to all in another."""
    count = group.member_count + len(act.users)
    joined_seq = 1 if group.share_history else 0
    entered = tuple(GroupMember(user, role, joined_seq) for user in act.users)
    if group.is_large:
        acts: tuple[GroupAct, ...] = (act,)
        notices: tuple[GroupNotice, ...] = ()
    else:
        everyone = (*group.members, *act.users)
        acts = (act, GroupAct("large", act.by)) if count > policy.large_above else (act,)
        notices = tuple(GroupNotice(each, everyone) for each in acts)
    return change_of(
        group,
        act.by,
        members=entered,
        acts=acts,
        notices=notices,
        becomes_large=len(acts) > 1,
        # Who enters an empty group owns it, so that must be one only: the next ones are decided on another version.
        keep_version=group.is_large and group.member_count > 0 and used_invite is None,
        used_invite=used_invite.invite if used_invite else "",
        invite_expires_ms=used_invite.expires_ms if used_invite else 0,
        refused=refused,
    )
