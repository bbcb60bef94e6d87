"""What must be loaded before a request of a group can be decided, and what no state of the group can make right.

Guarantees: pure; every error is one of the protocol's. Does not know: what is decided (rules.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.logic.groups.model import FOR_EVER, GroupPolicy, GroupRole
from services.logic.groups.settings import check_name, check_settings
from tidings_protocol import client_pb2
from tidings_protocol.content import check_client_id
from tidings_protocol.errors import BadRequest, TooLarge
from tidings_protocol.ids import ConversationKind, check_conversation, check_user

Request = client_pb2.GroupRequest


@dataclass(frozen=True, slots=True)
class Need:
    """What a decision rests on: the group, and of a large one these users, and who follows its owner.

    `bans`: which of the users are banned. `requests`: which of them ask to join, and how many do. `invite`: this one,
    as it is for `actor`. `leaders`: also the owner and the admins.
    """

    conversation: str
    users: tuple[str, ...]
    successor: bool = False
    bans: bool = False
    requests: bool = False
    invite: str = ""
    actor: str = ""
    leaders: bool = False


def need_of(request: Request, actor: str, policy: GroupPolicy) -> Need | None:
    """What the request's decision rests on; None for a create, which needs nothing.

    Raises BadRequest for what no state of the group can make right.
    """
    match request.WhichOneof("act"):
        case "create":
            if request.create.client_id:
                check_client_id(request.create.client_id)
            _check_users(request.create.members, policy)
            check_name(request.create.name, policy)
            return None
        case "join":
            if len(request.join.text.encode()) > policy.request_bytes_max:
                raise TooLarge(f"text may have at most {policy.request_bytes_max} bytes: write a shorter one")
            conversation, invite = _group_id(request.join.conversation), request.join.invite
            return Need(conversation, (actor,), bans=True, requests=True, invite=invite, actor=actor)
        case "leave":
            return Need(_group_id(request.leave.conversation), (actor,), successor=True, requests=True)
        case "add":
            users = _check_some_users(request.add.users, policy)
            return Need(_group_id(request.add.conversation), once((actor, *users)), bans=True, requests=True)
        case "remove":
            users = _check_some_users(request.remove.users, policy)
            return Need(_group_id(request.remove.conversation), once((actor, *users)))
        case "set_role":
            _check_role(request.set_role)
            return Need(_group_id(request.set_role.conversation), once((actor, request.set_role.user)))
        case "rename":
            check_name(request.rename.name, policy)
            return Need(_group_id(request.rename.conversation), (actor,))
        case _:
            return _need_further(request, actor, policy)


def _need_further(request: Request, actor: str, policy: GroupPolicy) -> Need:
    match request.WhichOneof("act"):
        case "info":
            info = request.info
            return Need(_group_id(info.conversation), (actor,), requests=True, invite=info.invite, actor=actor)
        case "update":
            check_settings(request.update.settings, policy)
            return Need(_group_id(request.update.conversation), (actor,))
        case "mute":
            users = _check_some_users(request.mute.users, policy)
            if request.mute.until_ms < FOR_EVER:
                raise BadRequest("until_ms is no time: give one in milliseconds, 0 for no longer, or -1 for ever")
            return Need(_group_id(request.mute.conversation), once((actor, *users)))
        case "ban":
            users = _check_some_users(request.ban.users, policy)
            return Need(_group_id(request.ban.conversation), once((actor, *users)), bans=True, requests=True)
        case "decide":
            users = _check_some_users(request.decide.users, policy)
            return Need(_group_id(request.decide.conversation), once((actor, *users)), bans=True, requests=True)
        case "invite":
            _check_invite(request.invite, policy)
            return Need(_group_id(request.invite.conversation), (actor,))
        case "uninvite":
            uninvite = request.uninvite
            return Need(_group_id(uninvite.conversation), (actor,), invite=uninvite.invite, actor=actor)
        case "members" | "banned" | "join_requests" | "invites" | "dissolve" as act:
            return Need(_group_id(getattr(request, act).conversation), (actor,))
        case _:
            raise BadRequest("the group request has no act: set one of create, join, leave, add, remove, ...")


def once(users: Iterable[str]) -> tuple[str, ...]:
    """Each of the users once, in the order given."""
    return tuple(dict.fromkeys(users))


def _group_id(conversation: str) -> str:
    if check_conversation(conversation) is not ConversationKind.GROUP:
        raise BadRequest(f"{conversation} is not a group: give the id of a group, g:<id>")
    return conversation


def _check_some_users(users: Sequence[str], policy: GroupPolicy) -> Sequence[str]:
    if not users:
        raise BadRequest("the request names no user: name at least one user")
    return _check_users(users, policy)


def _check_users(users: Sequence[str], policy: GroupPolicy) -> Sequence[str]:
    if len(users) > policy.users_max:
        raise BadRequest(f"{len(users)} users at once, at most {policy.users_max} are allowed: use several requests")
    for user in users:
        check_user(user)
    return users


def _check_invite(invite: Request.Invite, policy: GroupPolicy) -> None:
    if invite.ttl_s > policy.invite_ttl_s_max:
        raise BadRequest(f"ttl_s may be at most {policy.invite_ttl_s_max}: give a shorter time")
    if invite.uses > policy.invite_uses_max:
        raise BadRequest(f"uses may be at most {policy.invite_uses_max}: give fewer, or 0 for no limit")


def _check_role(request: Request.SetRole) -> None:
    check_user(request.user)
    if not GroupRole.MEMBER <= request.role <= GroupRole.OWNER:
        raise BadRequest(f"{request.role} is no role: give MEMBER, ADMIN or OWNER")
