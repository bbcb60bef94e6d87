"""The nouns of logic: a group as it was when it was loaded, its members, what may change in it.

Guarantees: values only; nothing here is altered once it is made.

Does not know: where they come from (loader.py), what may be done with them (permissions.py, rules.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final


class GroupRole(IntEnum):
    """What a member may do; the numbers are those of `tidings.v1.Member.Role`."""

    MEMBER = 1
    ADMIN = 2
    OWNER = 3


# Until when who is muted for good.
FOR_EVER: Final = -1


@dataclass(frozen=True, slots=True)
class FurtherSettings:
    """The settings of a group beyond its name, and how one joins, sends and reads there.

    `approval`: joining is asked for. `members_add`: members may add and invite others. `muted`: only owner and admins
    send. `slow_s`: a member sends at most once in so many seconds; 0: as they like.
    """

    description: str = ""
    avatar: str = ""
    approval: bool = False
    members_add: bool = False
    muted: bool = False
    slow_s: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)


NO_FURTHER: Final = FurtherSettings()


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member. `joined_seq` is the first seq that this member may read; age is the order of (joined_ms, user).
    `muted_until_ms`: may not send until then; 0: may; FOR_EVER.
    """

    user: str
    role: GroupRole
    joined_seq: int = 1
    joined_ms: int = 0
    muted_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class GroupSnapshot:
    """A group in one version.

    `members` are all of a group that is not large; of a large group those that were asked for and are members.
    `successor` of a large group: who follows an owner that leaves, if that was asked for; then among `members` too.
    `further`: the settings that have no field here. `bans`: how many users are banned. `dissolved`: there are no
    members any more; `former` are those of the users asked for who were at its end. `pinned`: the seqs of pinned
    messages, the newest pin first.
    """

    conversation: str
    version: int
    members: Mapping[str, GroupMember]
    member_count: int
    name: str = ""
    open: bool = False
    channel: bool = False
    share_history: bool = False
    large_from: int = 0
    head: int = 0
    successor: str = ""
    further: FurtherSettings = NO_FURTHER
    bans: int = 0
    dissolved: bool = False
    former: frozenset[str] = frozenset()
    pinned: tuple[int, ...] = ()

    @property
    def is_large(self) -> bool:
        """Whether the group is read by cursor."""
        return self.large_from > 0

    def role_of(self, user: str) -> GroupRole | None:
        """The user's role; None: the user is no member, or was not asked for."""
        member = self.members.get(user)
        return member.role if member else None


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """The limits of groups, from the settings."""

    large_above: int = 200
    members_max: int = 100_000
    users_max: int = 500
    name_bytes_max: int = 256
    description_bytes_max: int = 1024
    avatar_bytes_max: int = 2048
    attributes_max: int = 16
    attributes_bytes_max: int = 4096
    slow_s_max: int = 24 * 3600
    bans_max: int = 10_000
    requests_max: int = 1000
    request_bytes_max: int = 1024
    invites_of_member_max: int = 100
    invite_ttl_s: int = 7 * 24 * 3600
    invite_ttl_s_max: int = 366 * 24 * 3600
    invite_uses_max: int = 100_000


@dataclass(frozen=True, slots=True)
class GroupAct:
    """What happened to a group: the content of a notice, and of the event for other systems.

    `settings`: of an update, those that changed (an encoded tidings.v1.GroupSettings). `until_ms`: of a mute.
    """

    act: str
    by: str
    users: tuple[str, ...] = ()
    role: str = ""
    name: str = ""
    settings: bytes = b""
    until_ms: int = 0


@dataclass(frozen=True, slots=True)
class GroupNotice:
    """A SYSTEM message about an act; each recipient gets an inbox entry, none: read by cursor."""

    act: GroupAct
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupChange:
    """One atomic change of a group, decided but not made.

    `version` is that of the group which the decision rests on, 0 for a new one. In `members` a `joined_seq` of 0 is
    the seq of the first notice. `acts` are all that happen, `notices` those of them that become messages. `empties`:
    nobody is left after it, or it is stale. `banned`: who was not before; `unbanned`: who was. `used_invite`: one of
    its uses is taken. `refused`: who was not taken in, as the asker is told.
    """

    conversation: str
    actor: str
    version: int
    name: str = ""
    open: bool = False
    channel: bool = False
    share_history: bool = False
    members: tuple[GroupMember, ...] = ()
    removed: tuple[str, ...] = ()
    acts: tuple[GroupAct, ...] = ()
    notices: tuple[GroupNotice, ...] = ()
    becomes_large: bool = False
    keep_version: bool = False
    empties: bool = False
    further: FurtherSettings = NO_FURTHER
    banned: tuple[str, ...] = ()
    unbanned: tuple[str, ...] = ()
    dissolves: bool = False
    used_invite: str = ""
    invite_expires_ms: int = 0
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Invite:
    """An invite that is there and not over. `uses`: how many it lets in; 0: no limit. `is_second`: who asks has come in
    by it before.
    """

    invite: str
    by: str
    expires_ms: int = 0
    uses: int = 0
    used: int = 0
    is_second: bool = False

    @property
    def lets_in(self) -> bool:
        """Whether it lets the one in who asks."""
        return not self.uses or self.is_second or self.used < self.uses


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a decision rests on besides the group, as far as its need asks for it.

    Of the users that are named: `banned`, `asking` to join, and `blocking` (who takes no messages of the actor).
    `requests`: how many users ask to join. `invite`: the one that is named; None: it is gone.
    """

    now_ms: int = 0
    banned: frozenset[str] = frozenset()
    asking: frozenset[str] = frozenset()
    blocking: frozenset[str] = frozenset()
    requests: int = 0
    invite: Invite | None = None


NOTHING_KNOWN: Final = Circumstances()


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """What a request asks for is so already: it is a repeat, perhaps of a change that nobody was told of.

    `act` is what is so. The nodes of the users are told again that these are (`indexed`), or are not (`dropped`), in
    this large group.
    """

    conversation: str
    act: GroupAct
    indexed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskToJoin:
    """A request to join is left with owner and admins; decided on this version."""

    conversation: str
    user: str
    text: str
    version: int


@dataclass(frozen=True, slots=True)
class DropRequests:
    """The requests of these users are gone: withdrawn, or (`refused`) refused, of which they are told."""

    conversation: str
    users: tuple[str, ...]
    refused: bool = False


@dataclass(frozen=True, slots=True)
class WithdrawInvites:
    """This invite, or all (""), of one user, or of everybody (""), is gone."""

    conversation: str
    invite: str
    by: str


Decision = GroupChange | AlreadyDone | AskToJoin | DropRequests | WithdrawInvites
