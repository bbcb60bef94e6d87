"""Groups, as the application sees them: what is known of one, its settings, members, invites, who asks to join."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from tidings_protocol import client_pb2 as pb


class Role(IntEnum):
    """What a member may do in a group."""

    NONE = pb.Member.ROLE_UNSPECIFIED
    MEMBER = pb.Member.MEMBER
    ADMIN = pb.Member.ADMIN
    OWNER = pb.Member.OWNER

    @classmethod
    def _missing_(cls, _value: object) -> Role:
        return cls.NONE  # a role of a newer server


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """How a group is set. `slow_s`: a member sends at most once in so many seconds; 0: as they like.

    `approval`: joining is asked for, owner and admins decide; `members_add`: members may add others; `muted`: only
    owner and admins send.
    """

    name: str = ""
    description: str = ""
    avatar: str = ""
    open: bool = False
    channel: bool = False
    share_history: bool = False
    approval: bool = False
    members_add: bool = False
    muted: bool = False
    slow_s: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_proto(cls, settings: pb.GroupSettings) -> GroupSettings:
        return cls(
            settings.name,
            settings.description,
            settings.avatar,
            settings.open,
            settings.channel,
            settings.share_history,
            settings.approval,
            settings.members_add,
            settings.muted,
            settings.slow_s,
            dict(settings.attributes),
        )


@dataclass(frozen=True, slots=True)
class Group:
    """What is known of a group. `role` NONE: the caller is not a member (any more).

    `muted_until_ms`: the caller may not send until then; `join_requests`: open ones, for owner and admins; `pinned`:
    seqs, the newest pin first; `refused`: who was not taken in as it was made.
    """

    id: str
    name: str
    member_count: int
    role: Role
    head: int
    open: bool = False
    channel: bool = False
    share_history: bool = False
    large_from: int = 0
    settings: GroupSettings = GroupSettings()
    muted_until_ms: int = 0
    join_requests: int = 0
    pinned: tuple[int, ...] = ()
    refused: tuple[str, ...] = ()

    @classmethod
    def from_proto(cls, info: pb.GroupInfo) -> Group:
        return cls(
            info.conversation,
            info.name,
            info.member_count,
            Role(info.role),
            info.head,
            info.open,
            info.channel,
            info.share_history,
            info.large_from,
            GroupSettings.from_proto(info.settings),
            info.muted_until_ms,
            info.join_requests,
            tuple(info.pinned),
            tuple(info.refused),
        )


@dataclass(frozen=True, slots=True)
class Member:
    """`muted_until_ms`: may not send until then; 0: may; -1: for ever."""

    user: str
    role: Role
    joined_ms: int = 0
    muted_until_ms: int = 0

    @classmethod
    def from_proto(cls, member: pb.Member) -> Member:
        return cls(member.user, Role(member.role), member.joined_ms, member.muted_until_ms)


@dataclass(frozen=True, slots=True)
class Invite:
    """What lets others in. `uses_left` None: as many as like."""

    group: str
    invite: str
    expires_ms: int
    uses_left: int | None = None
    by: str = ""

    @classmethod
    def from_proto(cls, told: pb.InviteInfo) -> Invite:
        uses_left = told.uses_left if told.HasField("uses_left") else None
        return cls(told.conversation, told.invite, told.expires_ms, uses_left, told.by)


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """Somebody asks to be taken in."""

    user: str
    text: str
    time_ms: int

    @classmethod
    def from_proto(cls, told: pb.JoinRequestPage.Request) -> JoinRequest:
        return cls(told.user, told.text, told.time_ms)
